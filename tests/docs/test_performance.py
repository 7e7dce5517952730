"""The figures on the performance page are those that were measured last."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "developer-guide" / "performance.md"
LATEST = ROOT / "benchmarks" / "results" / "latest.json"
FIGURE_ROW = re.compile(r"^\| `(\w+)` \| ([\d.]+) \|.*\| ([^|]+) \|$", re.MULTILINE)


def read_latest() -> dict[str, dict[str, str | float]]:
    figures: dict[str, dict[str, str | float]] = json.loads(LATEST.read_text(encoding="utf-8"))
    return figures


def has_digits_of(shown: str, value: float) -> bool:
    """Whether a number as shown is the value, rounded to as many decimals."""
    decimals = len(shown.partition(".")[2])
    return abs(float(shown) - value) <= 0.5 / 10.0**decimals + 1e-9


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


def test_every_result_page_is_linked() -> None:
    text = PAGE.read_text(encoding="utf-8")
    pages = {path.name for path in LATEST.parent.glob("*.md")}
    assert {name for name in pages if f"benchmarks/results/{name}" not in text} == set()


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
