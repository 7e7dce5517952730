"""Any number of different rows in AG News' format: its rows repeated, numbered in the title."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path


def write_csv_rows(sources: Sequence[Path], target: Path, rows: int) -> None:
    """Write `rows` rows in AG News' format: class, title, description; no header, all quoted."""
    known = [
        row for source in sources for row in csv.reader(source.open(newline="", encoding="utf-8"))
    ]
    every = (
        (label, title if again == 0 else f"{title} {again}".lstrip(), text)
        for again in range(-(-rows // len(known)))
        for label, title, text in known
    )
    with target.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
            islice(every, rows)
        )
