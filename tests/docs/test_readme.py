"""README is short, names what exists, and agrees with `--help`, pyproject and the benchmarks."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from pipeline.cli.main import app
from tests.support.documents.page_directory import ROOT

MAX_LINES = 90
MAX_COLUMNS = 100
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIGURES = {
    ("fine-tune MiniLM", "a typical notebook"): "train_minilm_vs_notebook",
    ("fine-tune MiniLM", "Hugging Face's Trainer"): "train_vs_hf_trainer",
    ("train a BERT of 4 layers", "Model Garden's trainer"): "train_vs_model_garden",
    ("tokenize", "Hugging Face's tokenizer"): "tokenize_vs_hf",
    ("serve batches of 64 texts", "a model that pads to 128"): "serve_batch64_vs_plain",
    ("two workers with a core each", "twice the speed of one worker"): "scaling_two_workers",
}


def read_performance_table() -> dict[tuple[str, str], dict[str, str]]:
    """(what, compared with) -> machine -> figure."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in README.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    _, _, *machines = rows[0]
    return {
        (what, other): dict(zip(machines, cells, strict=True)) for what, other, *cells in rows[1:]
    }


def format_like(shown: str, value: float) -> str:
    """The value with as many digits as the figure that is shown."""
    if shown.endswith("%"):
        return f"{value:.0%}"
    return f"{value:.{len(shown.partition('.')[2])}f}"


def test_readme_is_read_in_a_minute() -> None:
    lines = README.splitlines()
    assert len(lines) <= MAX_LINES
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []


def test_readme_begins_with_what_help_and_the_package_say() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    summary = str(app.info.help).rstrip(".")
    assert README.splitlines()[2].startswith(f"{summary}.")
    assert project["description"].startswith(f"{summary}:")
    assert project["license"] in README


def test_the_performance_table_has_the_six_comparisons() -> None:
    assert list(read_performance_table()) == list(FIGURES)


@pytest.mark.parametrize(("row", "figure"), FIGURES.items(), ids=FIGURES.values())
def test_the_performance_table_agrees_with_the_latest_figures(
    row: tuple[str, str], figure: str
) -> None:
    path = ROOT / "benchmarks" / "results" / "latest.json"
    latest = json.loads(path.read_text(encoding="utf-8"))[figure]
    shown = read_performance_table()[row]
    (cell,) = (
        cell for name, cell in shown.items() if re.search(name.split()[0], latest["machine"])
    )
    assert cell == format_like(cell, latest["value"])


@pytest.mark.parametrize(
    ("shown", "value", "formatted"),
    [("4.3", 4.316, "4.3"), ("10", 9.7, "10"), ("68%", 0.68, "68%")],
)
def test_figures_are_compared_in_the_digits_that_are_shown(
    shown: str, value: float, formatted: str
) -> None:
    assert format_like(shown, value) == formatted
