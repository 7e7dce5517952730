from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from pipeline.cli import tables

ROWS = [{"run": "a", "low": 0.1, "minutes": None}, {"run": "b\n[bold]", "low": 0.2, "problem": "x"}]


def test_a_table_in_a_pipe_is_tab_separated(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table(ROWS, hidden=("low",))
    assert capsys.readouterr().out == "run\tminutes\tproblem\na\t\t\nb [bold]\t\tx\n"


def test_a_table_at_a_terminal_is_aligned_and_has_no_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=80)
    monkeypatch.setattr(tables, "create_console", lambda: terminal)
    tables.print_table(ROWS)
    lines = [line.split() for line in Text.from_ansi(stream.getvalue()).plain.splitlines()]
    assert ["run", "low", "minutes", "problem"] in lines
    assert ["a", "0.1"] in lines
    assert ["[bold]"] in lines


def test_no_rows_are_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table([], if_empty="no runs")
    tables.print_table([])
    assert capsys.readouterr().out == "no runs\n"


def test_fields_are_aligned_and_empty_ones_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_fields({"a": 1, "long name": False, "none": None, "empty": ""})
    assert capsys.readouterr().out == "a          1\nlong name  False\n"
