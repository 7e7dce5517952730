"""The figures on the performance page are those that were measured last."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "developer-guide" / "performance.md"
LATEST = ROOT / "benchmarks" / "results" / "latest.json"
README = ROOT / "README.md"
MACHINES = ("AMD EPYC", "Intel Xeon")
FIGURE_ROW = re.compile(r"^\| `(\w+)` \| ([\d.]+) \|.*\| ([^|]+) \|$", re.MULTILINE)


def read_latest() -> dict[str, dict[str, str | float]]:
    figures: dict[str, dict[str, str | float]] = json.loads(LATEST.read_text(encoding="utf-8"))
    return figures


def has_digits_of(shown: str, value: float) -> bool:
    """Whether a number as shown is the value, rounded to as many decimals."""
    decimals = len(shown.partition(".")[2])
    return abs(float(shown) - value) <= 0.5 / 10.0**decimals + 1e-9


def read_machine_pairs(text: str) -> list[tuple[str, ...]]:
    """The cells of both machines in a table whose last columns are the two machines."""
    pairs = []
    in_table = False
    for line in text.splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if cells[-2:] == MACHINES:
            in_table = True
        elif not line.startswith("|"):
            in_table = False
        elif in_table and set(cells[-1]) != {"-"}:
            pairs.append(cells[-2:])
    return pairs


def test_the_page_shows_every_latest_figure_to_the_printed_digits() -> None:
    shown = {key: value for key, value, _ in FIGURE_ROW.findall(PAGE.read_text(encoding="utf-8"))}
    latest = read_latest()
    assert list(shown) and set(shown) == set(latest)
    wrong = {
        key: (value, latest[key]["value"])
        for key, value in shown.items()
        if not has_digits_of(value, float(latest[key]["value"]))
    }
    assert wrong == {}


def test_the_page_names_the_machine_of_every_latest_figure() -> None:
    latest = read_latest()
    for key, _, machine in FIGURE_ROW.findall(PAGE.read_text(encoding="utf-8")):
        assert machine in str(latest[key]["machine"]).replace("(R)", ""), key


def test_the_readme_has_figures_of_the_page() -> None:
    shown = read_machine_pairs(README.read_text(encoding="utf-8"))
    measured = read_machine_pairs(PAGE.read_text(encoding="utf-8"))
    assert len(shown) >= 6
    assert [pair for pair in shown if pair not in measured] == []


def test_every_result_page_is_linked() -> None:
    text = PAGE.read_text(encoding="utf-8")
    pages = {path.name for path in LATEST.parent.glob("*.md")}
    assert {name for name in pages if f"benchmarks/results/{name}" not in text} == set()


def test_a_table_of_two_machines_is_read() -> None:
    table = "| | AMD EPYC | Intel Xeon |\n|---|---|---|\n| tokenize | 13 | 10 |\n\n| a | 1 | 2 |\n"
    assert read_machine_pairs(table) == [("13", "10")]


@pytest.mark.parametrize(
    ("shown", "value", "is_equal"),
    [
        pytest.param("4.32", 4.3156, True, id="rounded"),
        pytest.param("4.33", 4.3156, False, id="another-digit"),
        pytest.param("92", 92.285, True, id="no-decimals"),
        pytest.param("0.0007", 0.00073, True, id="small"),
    ],
)
def test_the_rule_about_digits(shown: str, value: float, is_equal: bool) -> None:
    assert has_digits_of(shown, value) == is_equal
