"""latest.json: documented keys, with date, machine and commit; and the dated page."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from pathlib import Path

import pytest

from benchmarks.harness import __main__
from benchmarks.harness.__main__ import Figure
from benchmarks.harness.report import BenchmarkReport, Table

FROZEN = BenchmarkReport(
    title="A frozen encoder",
    figures={"frozen_later_epochs": 400.0},
    tables=(Table("Seconds", ("a", "b"), (("1", "2"),)),),
    notes=("A note.",),
)
SCALING = BenchmarkReport(title="Two workers", figures={"scaling_two_workers": 0.9}, tables=())


def test_the_suites_measure_the_documented_keys_and_no_key_twice():
    keys = [key for keys in __main__.SUITES.values() for key in keys]
    assert len(keys) == len(set(keys))
    assert set(keys) == {
        "tokenize_vs_hf",
        "tokenize_vs_notebook",
        "train_l4_vs_notebook",
        "train_minilm_vs_notebook",
        "train_vs_hf_trainer",
        "train_vs_model_garden",
        "frozen_later_epochs",
        "scaling_two_workers",
        "padding_efficiency",
        "input_wait_share",
        "serve_p50_vs_plain",
        "serve_batch64_vs_plain",
        "score_vs_hf_pipeline",
        "score_two_workers",
        "pipeline_overhead_s",
        "cached_rerun_s",
    }


def merge(earlier, reports):
    return __main__.merge_figures(
        earlier, reports, date="2026-11-26", machine="2 cores", commit="abc1234"
    )


def test_measured_figures_replace_earlier_ones_and_the_others_stay():
    earlier = {
        "scaling_two_workers": Figure(0.5, "2026-11-20", "8 cores", "old"),
        "tokenize_vs_hf": Figure(6.0, "2026-11-20", "8 cores", "old"),
    }
    merged = merge(earlier, {"frozen": FROZEN, "scaling": SCALING})
    assert merged == {
        "tokenize_vs_hf": earlier["tokenize_vs_hf"],
        "frozen_later_epochs": Figure(400.0, "2026-11-26", "2 cores", "abc1234"),
        "scaling_two_workers": Figure(0.9, "2026-11-26", "2 cores", "abc1234"),
    }
    assert list(merged) == ["tokenize_vs_hf", "frozen_later_epochs", "scaling_two_workers"]


def test_a_figure_that_no_suite_measures_is_dropped():
    assert merge({"unknown": Figure(1.0, "2026-11-20", "8 cores", "old")}, {}) == {}


def test_figures_are_read_as_they_were_written(tmp_path: Path):
    path = tmp_path / "latest.json"
    assert __main__.read_figures(path) == {}
    figures = merge({}, {"frozen": FROZEN})
    __main__.write_figures(path, figures)
    assert __main__.read_figures(path) == figures


def test_every_committed_figure_has_a_date_a_machine_and_a_commit():
    figures = __main__.read_figures(__main__.LATEST)
    assert figures
    for key, figure in figures.items():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", figure.date), key
        assert "cores" in figure.machine, key
        assert re.match(r"[0-9a-f]{7}", figure.commit), key


@pytest.mark.parametrize(
    ("suites", "processor", "name"),
    [
        ([], "AMD EPYC", "2026-11-26_all-suites_amd-epyc.md"),
        (
            ["frozen", "scaling"],
            "Intel(R) Xeon(R) Processor @ 2.20GHz",
            "2026-11-26_frozen-scaling_intel-xeon.md",
        ),
        ([], "", "2026-11-26_all-suites_unknown.md"),
    ],
)
def test_a_page_is_named_by_date_suite_and_machine(suites: list[str], processor: str, name: str):
    assert __main__.name_page(suites, processor, datetime.date(2026, 11, 26)) == name


@pytest.mark.parametrize(
    "figures", [{}, {"frozen_later_epochs": 1.0, "more": 2.0}], ids=["none", "one too many"]
)
def test_a_report_with_other_figures_is_refused(figures: dict[str, float]):
    with pytest.raises(ValueError, match="frozen"):
        merge({}, {"frozen": dataclasses.replace(FROZEN, figures=figures)})


def test_a_report_is_parsed_from_json_as_it_was_written():
    assert __main__.parse_report(json.loads(json.dumps(dataclasses.asdict(FROZEN)))) == FROZEN


def test_the_page_has_the_machine_the_tables_and_what_failed():
    page = __main__.format_page(
        "COMMAND", {"machine": "2 cores"}, [FROZEN], ["serving"], datetime.date(2026, 11, 26)
    )
    assert page.startswith(
        "# Speed, 2026-11-26\n\n    COMMAND\n\n- machine: 2 cores\n\n"
        "Not measured: serving.\n\n## A frozen encoder\n"
    )
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |" in page
    assert "- A note." in page


def test_a_machine_without_git_is_described_by_the_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    assert __main__.describe_machine()["commit"].startswith("unknown (kubert 0.")
