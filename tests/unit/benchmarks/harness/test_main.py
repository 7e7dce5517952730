"""latest.json has the documented keys, takes over what was measured, and keeps the rest."""

from __future__ import annotations

import dataclasses
import datetime
import json

import pytest

from benchmarks.harness import __main__
from benchmarks.harness.report import Chapter, Table

FROZEN = Chapter(
    title="A frozen encoder",
    figures={"frozen_later_epochs": 400.0},
    tables=(Table("Seconds", ("a", "b"), (("1", "2"),)),),
    notes=("A note.",),
)
SCALING = Chapter(title="Two workers", figures={"scaling_two_workers": 0.9}, tables=())


def test_the_chapters_measure_the_documented_keys_and_no_key_twice():
    keys = [key for keys in __main__.CHAPTERS.values() for key in keys]
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
        "pipeline_overhead_s",
        "cached_rerun_s",
    }


def test_measured_figures_replace_old_ones_and_the_others_stay():
    before = {"scaling_two_workers": 0.5, "tokenize_vs_hf": 6.0}
    after = __main__.merged(before, {"frozen": FROZEN, "scaling": SCALING})
    assert after == {
        "tokenize_vs_hf": 6.0,
        "frozen_later_epochs": 400.0,
        "scaling_two_workers": 0.9,
    }
    assert list(after) == ["tokenize_vs_hf", "frozen_later_epochs", "scaling_two_workers"]


def test_a_key_that_no_chapter_has_is_dropped():
    assert __main__.merged({"of_old": 1.0}, {}) == {}


@pytest.mark.parametrize(
    "figures", [{}, {"frozen_later_epochs": 1.0, "more": 2.0}], ids=["none", "one too many"]
)
def test_a_chapter_with_other_figures_than_its_own_is_refused(figures: dict[str, float]):
    with pytest.raises(ValueError, match="frozen"):
        __main__.merged({}, {"frozen": dataclasses.replace(FROZEN, figures=figures)})


def test_a_chapter_comes_back_from_json_as_it_was():
    assert __main__.read_result(json.loads(json.dumps(dataclasses.asdict(FROZEN)))) == FROZEN


def test_the_page_has_the_machine_the_tables_and_what_is_missing():
    page = __main__.page(
        "COMMAND", {"machine": "2 cores"}, [FROZEN], ["serving"], datetime.date(2026, 11, 26)
    )
    assert page.startswith(
        "# Speed, 2026-11-26\n\n    COMMAND\n\n- machine: 2 cores\n\nNot measured: serving.\n\n## A frozen encoder\n"
    )
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |" in page
    assert "- A note." in page
