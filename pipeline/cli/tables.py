"""What commands print besides progress: tables, lists of fields, JSON and YAML.

rich is imported on use, so that `kubert --help` stays fast.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from components.errors import escape_unprintable

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]


def create_console(*, to_stderr: bool = False) -> Console:
    """The console for messages; on standard error where standard output carries JSON."""
    from rich.console import Console

    return Console(stderr=to_stderr, highlight=False)


def print_line(console: Console, text: str, style: str = "") -> None:
    """Print text as it is, without markup and without breaking lines, so that it can be copied."""
    from rich.text import Text

    console.print(Text(text, style=style), soft_wrap=True)


def mark_label(label: str, is_confident: bool | None) -> str:
    """The label of an answer, with a question mark if its score is below the threshold."""
    return escape_unprintable(label) + ("?" if is_confident is False else "")


def format_cell(row: Row, column: str) -> str:
    """The value as text; empty where there is none."""
    value = row.get(column)
    return "" if value is None else escape_unprintable(str(value))


def print_table(
    rows: Sequence[Row],
    *,
    if_empty: str = "",
    hidden: tuple[str, ...] = (),
    cell: Callable[[Row, str], str] = format_cell,
) -> None:
    """Print rows under the names of their keys: aligned at a terminal, tab-separated in a pipe.

    A key that only some rows have is a column, too. `hidden` keys are no columns. Without rows,
    prints `if_empty`.
    """
    if not rows:
        if if_empty:
            typer.echo(if_empty)
        return
    columns = [
        name for name in dict.fromkeys(key for row in rows for key in row) if name not in hidden
    ]
    cells = [[cell(row, column) for column in columns] for row in rows]
    console = create_console()
    if not console.is_terminal:
        for line in (columns, *cells):
            typer.echo("\t".join(text.replace("\t", " ").replace("\n", " ") for text in line))
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("run", "step"))
    for line in cells:
        table.add_row(*map(Text, line))
    console.print(table)


def print_fields(values: Row) -> None:
    """Print one line per value, the names aligned; values that are None or empty are left out."""
    present = {name: value for name, value in values.items() if value not in (None, "")}
    width = max(map(len, present), default=0)
    for name, value in present.items():
        typer.echo(f"{name:<{width}}  {value}")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON on standard output."""
    typer.echo(json.dumps(value))


def print_yaml(value: Any) -> None:
    """Print a value as YAML on standard output, in its own order."""
    import yaml

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000)
    typer.echo(text, nl=False)
