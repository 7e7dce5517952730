"""Rows of AG News, drawn by chance with a number for each class, in files of the same format."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

CLASSES = ("World", "Sports", "Business", "Sci/Tech")
"""In the order of the labels, which are written from 1."""


class NewsRow(NamedTuple):
    """A row of AG News: its class from 1, its title and its description."""

    label: str
    title: str
    description: str


def read_rows(path: Path) -> list[NewsRow]:
    """All rows of a file of AG News."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [NewsRow(*row) for row in csv.reader(stream)]


def draw_rows(rows: Iterable[NewsRow], counts: Sequence[int], seed: int) -> list[NewsRow]:
    """As many rows of each class as `counts` says, in random order; the seed decides which.

    Raises ValueError for a class with too few rows.
    """
    by_class: dict[str, list[NewsRow]] = {}
    for row in rows:
        by_class.setdefault(row.label, []).append(row)
    generator = np.random.default_rng(seed)
    drawn: list[NewsRow] = []
    for number, count in enumerate(counts, start=1):
        known = by_class.get(str(number), [])
        if len(known) < count:
            raise ValueError(
                f"{CLASSES[number - 1]} has {len(known)} rows, and {count} are needed; "
                "use the whole files of AG News"
            )
        drawn += [known[index] for index in generator.permutation(len(known))[:count]]
    return [drawn[index] for index in generator.permutation(len(drawn))]


def write_rows(path: Path, rows: Iterable[NewsRow]) -> Path:
    """Write the rows in AG News' format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return path
