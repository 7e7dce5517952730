"""What a chapter of the benchmarks hands back: figures for the machine, tables and notes for the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of the page; every row has a cell per column."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chapter:
    """A chapter's result: `figures` are the keys it adds to latest.json."""

    title: str
    figures: dict[str, float]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


def markdown(chapter: Chapter) -> str:
    """The chapter as a section of the page, from its heading on."""
    parts = [f"## {chapter.title}"]
    parts += [_table(table) for table in chapter.tables]
    if chapter.notes:
        parts.append("\n".join(f"- {note}" for note in chapter.notes))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return f"{table.caption}\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
