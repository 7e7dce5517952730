"""Computes the units of one worker: reads their rows, runs the model, and writes the results.

A unit's batches are formed of its own rows, the longest first, so its result depends on nothing
else. Batches run side by side in threads, which changes no result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from components import progress
from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.release import open_release
from components.artifacts.token_shards import SplitReader, open_shards
from components.data.text_columns import Text, count_characters
from components.errors import DataError
from components.model.batch_scoring import padded_width
from components.model.text_windows import batch_by_windows
from components.scoring.job import ScoringJob, SourceRows
from components.scoring.kept_columns import build_column
from components.scoring.models import (
    BatchComputer,
    CheckpointScorer,
    ReleaseScorer,
    set_thread_counts,
)
from components.scoring.text_rows import open_text_source, read_text_units
from components.scoring.unit_results import (
    UnitResult,
    Values,
    find_finished_units,
    write_result,
)
from components.storage.store import open_store

Indices = npt.NDArray[np.intp]
REPORT_INTERVAL_SECONDS = 1.0


class ScoringStoppedError(Exception):
    """The worker was asked to stop; the unit in work is dropped, all results before it stay."""


class UnitRows(Protocol):
    """The rows of one unit that are scored."""

    def lengths(self) -> Sequence[int] | npt.NDArray[np.int32]:
        """How long each row is."""

    def batch(self, indices: Indices) -> Any:
        """These rows, the longest first, as the model takes them."""


@dataclass(frozen=True)
class _TextRows:
    texts: Sequence[Text]

    def lengths(self) -> Sequence[int]:
        return count_characters(self.texts)

    def batch(self, indices: Indices) -> list[Text]:
        return [self.texts[index] for index in indices]


class _TokenRows:
    def __init__(
        self,
        split: SplitReader,
        lengths: npt.NDArray[np.int32],
        positions: range,
        max_length: int,
    ) -> None:
        self._split, self._first = split, positions.start
        self._max_length = max_length
        self._lengths = lengths[positions.start : positions.stop]

    def lengths(self) -> npt.NDArray[np.int32]:
        return self._lengths

    def batch(self, indices: Indices) -> npt.NDArray[np.int32]:
        length, longest = int(self._lengths[indices[0]]), int(self._lengths.max())
        width = padded_width(length, longest, self._max_length)
        return self._split.read_padded(indices + self._first, width)


class RowProgress:
    """Counts the rows of one worker whose values are computed, and reports them in events."""

    def __init__(self, job: ScoringJob, total: int, done: int) -> None:
        self._job, self._total, self._done = job, total, done
        self._done_before, self._start, self._last = done, time.monotonic(), 0.0

    def add(self, rows: int) -> None:
        """Count more rows; reports at most once per REPORT_INTERVAL_SECONDS, and the last ones."""
        self._done += rows
        now = time.monotonic()
        if now - self._last < REPORT_INTERVAL_SECONDS and self._done < self._total:
            return
        self._last = now
        rate = (self._done - self._done_before) / max(now - self._start, 1e-3)
        progress.report(
            self._job.step,
            "scoring the rows",
            done=self._done,
            total=self._total,
            rows_per_second=round(rate, 1),
        )


def score_units(
    job: ScoringJob,
    rank: int,
    workers: int,
    threads: int,
    should_stop: Callable[[], bool] = lambda: False,
    model: Artifact[Any] | None = None,
) -> None:
    """Score the units k with k mod `workers` = `rank` that have no valid result yet.

    Paths of the job are local or URIs of stores, except model and shards, which are local. `model`
    is the job's model, if the caller has verified it; otherwise it is verified here. Raises
    ScoringStoppedError when `should_stop` says so, and DataError for inputs that are damaged, or
    other ones than the job says.
    """
    store = open_store(job.state)
    own = range(rank, job.unit_count, workers)
    finished, problems = find_finished_units(store, job, own)
    for problem in problems:
        progress.report(job.step, problem)
    missing = {unit for unit in own if unit not in finished}
    if not missing:
        return
    set_thread_counts(threads)
    computer = _load_model(job, model)
    total = sum(len(job.unit_range(unit)) for unit in own)
    counter = RowProgress(job, total, sum(len(job.unit_range(unit)) for unit in finished))

    def count_batch(rows: int) -> None:
        if should_stop():
            raise ScoringStoppedError
        counter.add(rows)

    with ThreadPoolExecutor(threads) as pool:
        for result in _compute_results(job, computer, missing, pool, count_batch):
            write_result(store, job, result)


def compute_by_length(
    model: BatchComputer,
    rows: UnitRows,
    batch_rows: int,
    pool: Executor,
    on_batch: Callable[[int], None],
) -> Values:
    """The model's values of all rows, in their order: float32 [rows, width].

    A batch has at most `batch_rows` rows, or as many windows. `on_batch` is called with the rows of
    each finished batch; what it raises ends the work.
    """
    lengths = np.asarray(rows.lengths(), np.int64)
    order = np.argsort(-lengths, kind="stable")
    values = np.empty((len(order), model.width), np.float32)
    batches = list(batch_by_windows(order, model.count_windows(lengths[order]), batch_rows))
    futures = [pool.submit(lambda part: model.compute(rows.batch(part)), part) for part in batches]
    try:
        for part, future in zip(batches, futures, strict=True):
            values[part] = future.result()
            on_batch(len(part))
    finally:
        for future in futures:
            future.cancel()
    return values


def _compute_results(
    job: ScoringJob,
    model: BatchComputer,
    units: set[int],
    pool: Executor,
    on_batch: Callable[[int], None],
) -> Iterator[UnitResult]:
    if isinstance(job.rows, SourceRows):
        yield from _compute_text_results(job, job.rows, model, units, pool, on_batch)
        return
    shards = open_shards(Path(job.rows.uri), verify=False)
    if shards.digest != job.rows.digest:
        raise DataError(f"{job.rows.uri}: changed since the scoring was started; start it again")
    split = shards.open_split(job.rows.split)
    is_text_model = job.model.kind == "release"
    lengths = split.read_lengths()
    for unit in sorted(units):
        positions = job.unit_range(unit)
        numbers = np.arange(positions.start, positions.stop)
        rows: UnitRows = (
            _TextRows(split.read_texts(numbers))
            if is_text_model
            else _TokenRows(split, lengths, positions, shards.content.max_length)
        )
        values = compute_by_length(model, rows, job.batch_rows, pool, on_batch)
        yield UnitResult(unit, numbers, values)


def _compute_text_results(
    job: ScoringJob,
    rows: SourceRows,
    model: BatchComputer,
    units: set[int],
    pool: Executor,
    on_batch: Callable[[int], None],
) -> Iterator[UnitResult]:
    with open_text_source(rows.data, rows.paths) as source:
        check_unchanged(source.name, source.sha256, rows.digest)
        for unit in read_text_units(
            source, rows.data, [*rows.keep], job.unit_rows, units.__contains__
        ):
            values = compute_by_length(model, _TextRows(unit.texts), job.batch_rows, pool, on_batch)
            on_batch(len(unit.rejected))
            kept = {name: build_column(unit.kept[name], each) for name, each in rows.keep.items()}
            yield UnitResult(unit.unit, np.array(unit.rows, np.int64), values, kept, unit.rejected)


def check_unchanged(source: str, found: str, expected: str) -> None:
    """DataError if the digest of a source is not the one that the job was made for."""
    if found != expected:
        raise DataError(
            f"{source}: changed since its scoring was started (SHA-256 {found[:12]}, then "
            f"{expected[:12]}); bring back the old content, or start anew with another target"
        )


def _load_model(job: ScoringJob, verified: Artifact[Any] | None) -> BatchComputer:
    directory = Path(job.model.uri)
    is_checkpoint = job.model.kind == "checkpoint"
    open_model = open_checkpoint if is_checkpoint else open_release
    model: Artifact[Any] = verified or open_model(directory)
    if model.digest != job.model.digest:
        raise DataError(f"{directory}: is another model than when the scoring was started")
    return CheckpointScorer(model) if is_checkpoint else ReleaseScorer(model, job.output)
