"""The files in `examples/`: each has a row in its README and a test; configurations are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.config.loading import load_config
from components.data.labelled_text import open_dataset
from components.data.split_names import SPLITS
from components.data.time_window import fill_date_placeholder
from pipeline import presets
from tests.support.examples import list_examples

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
CONFIGURATIONS = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
TICKETS = EXAMPLES / "data" / "support_tickets.csv"


def list_files() -> list[str]:
    """Every file below `examples/` except the README and caches."""
    return sorted(
        str(path.relative_to(EXAMPLES))
        for path in EXAMPLES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md"
    )


def test_the_readme_has_one_row_for_every_file() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert (
        sorted(re.findall(r"^\| \[`([^`]+)`\]\(\1\) \|", text, flags=re.MULTILINE)) == list_files()
    )


def test_every_file_is_named_in_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    unnamed = [name for name in list_files() if f'"{Path(name).name}"' not in tests]
    assert unnamed == []


def test_configurations_are_numbered_without_a_gap() -> None:
    assert [name[:2] for name in CONFIGURATIONS] == [
        f"{number:02}" for number in range(1, len(CONFIGURATIONS) + 1)
    ]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_is_valid_and_its_comment_has_a_command_that_names_it(
    name: str,
) -> None:
    load_config(EXAMPLES / name)
    comment = (EXAMPLES / name).read_text(encoding="utf-8").partition("\n\n")[0]
    assert re.search(
        rf"^#   kubert (run|submit|schedule apply) examples/{name}", comment, flags=re.MULTILINE
    )


def test_the_first_example_is_the_quickstart() -> None:
    assert load_config(EXAMPLES / "01-quickstart.yaml") == load_config(
        presets.find_preset("quickstart")
    )


def test_the_frozen_example_trains_the_head_as_the_preset_does() -> None:
    example = load_config(EXAMPLES / "03-frozen-minilm.yaml")
    preset = load_config(presets.find_preset("ag_news_minilm_frozen"))
    assert example.model == preset.model
    patience = {"early_stopping_patience": preset.train.early_stopping_patience}
    assert example.train.model_copy(update=patience) == preset.train


def test_the_tickets_have_quoted_fields_and_one_row_that_is_rejected() -> None:
    text = TICKETS.read_text(encoding="utf-8")
    assert '""' in text and "\n" in text and ',"' in text
    data = load_config(EXAMPLES / "02-own-csv.yaml").data
    with open_dataset(data.model_copy(update={"source": str(TICKETS)})) as dataset:
        reader = dataset.read_examples()
        rows = list_examples(reader)
    assert dataset.labels.classes == ("account", "billing", "delivery", "repairs")
    assert [sum(row.label == index for row in rows) for index in range(4)] == [60] * 4
    assert reader.stats.rejected.counts.total() == 1 <= data.max_bad_rows
    assert len({row.text for row in rows}) == len(rows) == 240
    assert any("\n" in row.text for row in rows) and any('"' in row.text for row in rows)
    assert all(any(row.split == split for row in rows) for split in SPLITS)


def test_a_scheduled_run_reads_the_file_of_its_day_and_the_rows_of_its_window(
    tmp_path: Path,
) -> None:
    data = load_config(EXAMPLES / "07-nightly-schedule.yaml").data
    night = data.model_copy(update={"end_time": "2026-10-14T02:30:00+00:00"})
    assert fill_date_placeholder(night) == ("gs://project-id-kubert/tickets/2026-10-14.csv",)
    (tmp_path / "2026-10-14.csv").symlink_to(TICKETS)
    local = night.model_copy(update={"source": str(tmp_path / "{date}.csv")})
    with open_dataset(local) as dataset:
        rows = list_examples(dataset.read_examples())
    times = re.findall(r"^\d+,(\d{4}-\d\d-\d\dT\d\d:\d\d:00Z),", TICKETS.read_text(), re.MULTILINE)
    assert len(times) == 241
    too_old = sum(time < "2026-04-15T02:30:00Z" for time in times)
    assert dataset.outside_window.total() == too_old > 0
    assert len(rows) == 241 - too_old - 1
