"""The command: outcomes that are there are not measured again, and the page has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.suites.option_effects.__main__ import main
from benchmarks.suites.option_effects.news_rows import NewsRow, write_rows
from benchmarks.suites.option_effects.outcome import Outcome, write_outcome

FOUR = ((10, 0, 0, 0), (0, 10, 0, 0), (0, 0, 10, 0), (0, 0, 5, 5))


def test_the_page_has_the_outcomes_of_the_work_directory(tmp_path: Path) -> None:
    rows = [NewsRow(str(number % 4 + 1), f"title {number}", "text") for number in range(600)]
    for name in ("train.csv", "test.csv"):
        write_rows(tmp_path / name, rows)
    work = tmp_path / "option_effects"
    work.mkdir()
    for variant in ("none", "balanced"):
        write_outcome(work / f"imbalance-{variant}-1.json", Outcome(354, FOUR, 5.0))
    paths = ["--data", str(tmp_path), "--workdir", str(tmp_path)]
    assert main([*paths, "--quick", "--only", "imbalance"]) == 0
    (path,) = work.glob("*.md")
    page = path.read_text(encoding="utf-8")
    assert "--data DATA --workdir WORKDIR --only imbalance --quick\n" in page
    assert "| none | mean | 0.500 | 1.000 |" in page
    assert page.count("| balanced | 1 |") == 2
    assert "Retraining" not in page
    assert "preset `long`" not in page


def test_too_few_rows_are_an_error_before_any_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "train.csv", [NewsRow("1", "title", "text")])
    assert main(["--data", str(tmp_path), "--workdir", str(tmp_path)]) == 1
    assert "World has 1 rows, and 784 are needed" in capsys.readouterr().err
