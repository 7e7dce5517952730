"""Runs that score texts: their source, the command that submits them, and the finished units."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.storage.store import open_store
from tests.support.real_kfp.dated_rows import WORDS
from tests.support.real_kfp.server import KubertCommand

UNIT_ROWS = 512
"""Of sources with fewer than 262,144 rows."""
OUTPUT = "predictions.csv"
SCORING_TIMEOUT_SECONDS = 600.0


def format_texts(rows: int, seed: int = 0) -> str:
    """A CSV file with an id and a text of 8 to 60 words per row."""
    words, generator = " ".join(WORDS.values()).split(), random.Random(seed)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["id", "text"])
    for number in range(rows):
        chosen = generator.choices(words, k=generator.randint(8, 60))
        writer.writerow([f"r{number}", " ".join(chosen)])
    return stream.getvalue()


def upload(uri: str, text: str) -> str:
    """Write a file to the URI, which is returned."""
    directory, _, name = uri.rpartition("/")
    open_store(directory).write(name, text.encode())
    return uri


def read_output(to: str) -> bytes:
    """The bytes of the output at a directory or URI."""
    return open_store(to).read_bytes(OUTPUT)


def list_units(to: str) -> set[str]:
    """The keys of the results in the state of a target."""
    return {*open_store(f"{to}/.kubert-score").list("units")}


@dataclass(frozen=True)
class ScoringCommand:
    """`kubert score` of one source by one release, here and on the cluster."""

    kubert: KubertCommand
    release: str
    source: str

    def score_here(self, to: Path) -> bytes:
        """The output of one worker on this machine."""
        ended = self.kubert.run(*self._arguments(str(to)), timeout=SCORING_TIMEOUT_SECONDS)
        assert ended.returncode == 0, ended.stderr
        return read_output(str(to))

    def submit(self, to: str, config: Path, *options: str) -> dict[str, Any]:
        """What `kubert score --cluster --json` says of a run with two workers."""
        return dict(
            self.kubert.read_json(
                *self._arguments(to),
                *("--workers", "2", "--cluster", "--config", str(config), *options),
                timeout=SCORING_TIMEOUT_SECONDS,
            )
        )

    def _arguments(self, to: str) -> tuple[str, ...]:
        options = ("--text", "text", "--keep", "id", "--format", "csv", "--all-scores")
        return ("score", self.release, "--source", self.source, *options, "--to", to)
