"""A source in object storage whose rows have times around the scheduled times of a test."""

from __future__ import annotations

import csv
import datetime
import io

from components.storage.store import open_store

WORDS = {
    "Sports": "match goal team coach season stadium league striker",
    "Business": "market shares profit bank trade economy merger stocks",
}


def format_rows(times: list[datetime.datetime]) -> str:
    """A CSV file with a text, its label and its time per row; no two texts are equal."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["text", "label", "time"])
    for number, time in enumerate(times):
        label = list(WORDS)[number % 2]
        words = WORDS[label].split()
        start = number // 2 % len(words)
        text = " ".join([*words[start:], *words[:start], f"item{number}"])
        writer.writerow([text, label, time.isoformat()])
    return stream.getvalue()


def upload_rows(uri: str, times: list[datetime.datetime]) -> None:
    """Write such a file to the URI."""
    directory, _, name = uri.rpartition("/")
    open_store(directory).write(name, format_rows(times).encode())
