"""The report of one suite, which the dated pages and latest.json are made from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of text below their columns' names."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BenchmarkReport:
    """The results of one suite: `figures` by name for latest.json; `tables` and `notes` to read."""

    title: str
    figures: dict[str, float]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


def format_report(report: BenchmarkReport) -> str:
    """The report as Markdown: a heading, the figures, each table below its caption, the notes."""
    figures = Table(
        "Figures",
        ("figure", "value"),
        tuple((name, f"{value:.6g}") for name, value in report.figures.items()),
    )
    tables = (figures, *report.tables) if report.figures else report.tables
    parts = [f"## {report.title}", *map(format_table, tables)]
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    return "\n\n".join(parts) + "\n"


def format_table(table: Table) -> str:
    """One table below its caption, as Markdown."""
    lines = (table.columns, ("---",) * len(table.columns), *table.rows)
    return f"{table.caption.rstrip('.:')}:\n\n" + "\n".join(map(_format_row, lines))


def _format_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
