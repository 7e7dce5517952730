from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.release import open_release
from components.artifacts.token_shards import open_shards
from components.errors import DataError
from components.model.batch_scoring import score_split
from components.model.restore import load_classifier
from components.model.serving_model import load_scorer
from components.scoring import job as jobs
from components.scoring.job import ModelInput, ScoringJob, ShardRows
from components.scoring.unit_results import list_results, read_results
from components.scoring.unit_scoring import ScoringStoppedError, compute_by_length, score_units
from components.storage.atomic_files import file_sha256
from components.storage.store import open_store
from tests.support.releases.word_rule import rule_release
from tests.support.training.tiny_checkpoint import make_checkpoint, make_shards
from tests.unit.scoring.test_job import make_job

ROWS = 40


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of 16 rows: small models spend their time on starting."""
    monkeypatch.setattr(jobs, "MIN_UNIT_ROWS", 16)
    monkeypatch.setattr(jobs, "_UNIT_STEP", 16)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    texts = [f"w{number % 3} and more " * (number % 5 + 1) for number in range(ROWS)]
    make_shards(directory / "shards", [number % 3 for number in range(ROWS)], texts=texts)
    make_checkpoint(directory / "checkpoint")
    rule_release(directory / "release", {"w1": 1, "w2": 2})
    return directory


@pytest.fixture
def make_shard_job(inputs: Path, tmp_path: Path) -> Callable[..., ScoringJob]:
    shards = open_shards(inputs / "shards")

    def make(kind: str = "checkpoint", **changes: Any) -> ScoringJob:
        directory = inputs / kind
        opened = open_checkpoint(directory) if kind == "checkpoint" else open_release(directory)
        values = {
            "model": ModelInput(kind=kind, uri=str(directory), digest=opened.digest),
            "rows": ShardRows(uri=str(inputs / "shards"), digest=shards.digest),
            "row_count": ROWS,
            "state": str(tmp_path / "state"),
        }
        return make_job(**(values | changes))

    return make


def read_scores(job: ScoringJob) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.concatenate([result.values for result in read_results(job)])


def list_keys(job: ScoringJob) -> list[str]:
    return [key for keys in list_results(open_store(job.state)).values() for key in keys]


def hash_files(job: ScoringJob) -> dict[str, str]:
    return {key: file_sha256(Path(job.state, key)) for key in list_keys(job)}


def test_a_checkpoints_scores_are_those_of_its_classifier(
    inputs: Path, make_shard_job: Callable[..., ScoringJob]
) -> None:
    job = make_shard_job()
    score_units(job, 0, 1, threads=2)
    classifier, _, _ = load_classifier(open_checkpoint(inputs / "checkpoint"))
    expected = score_split(classifier, open_shards(inputs / "shards").open_split("test"), 64)
    np.testing.assert_allclose(read_scores(job), expected, atol=1e-6)
    assert np.ptp(expected, axis=0).min() > 0.05


def test_a_releases_scores_are_those_of_its_texts(
    inputs: Path, make_shard_job: Callable[..., ScoringJob]
) -> None:
    job = make_shard_job("release")
    score_units(job, 0, 1, threads=1)
    texts = open_shards(inputs / "shards").open_split("test").read_texts(np.arange(ROWS))
    np.testing.assert_allclose(read_scores(job), load_scorer(inputs / "release")(texts), atol=1e-6)


@pytest.mark.parametrize("kind", ["checkpoint", "release"])
def test_any_number_of_workers_and_threads_gives_the_same_bytes(
    tmp_path: Path, make_shard_job: Callable[..., ScoringJob], kind: str
) -> None:
    files = []
    for workers in (1, 2, 3):
        job = make_shard_job(kind, state=str(tmp_path / str(workers)), batch_rows=4)
        for rank in range(workers):
            score_units(job, rank, workers, threads=workers)
        files.append(hash_files(job))
    assert len(files[0]) == 3 and files[0] == files[1] == files[2]


def test_only_units_without_a_result_are_scored(
    make_shard_job: Callable[..., ScoringJob],
) -> None:
    job = make_shard_job()
    score_units(job, 1, 3, threads=1)
    before = {key: Path(job.state, key).stat().st_ino for key in list_keys(job)}
    score_units(job, 0, 1, threads=1)
    after = {key: Path(job.state, key).stat().st_ino for key in list_keys(job)}
    assert len(before) == 1 and before.items() < after.items()


def test_a_stop_drops_the_unit_in_work_and_leaves_the_finished_ones(
    make_shard_job: Callable[..., ScoringJob],
) -> None:
    job = make_shard_job()

    def should_stop() -> bool:
        return bool(list_results(open_store(job.state)))

    with pytest.raises(ScoringStoppedError):
        score_units(job, 0, 1, threads=1, should_stop=should_stop)
    assert [*list_results(open_store(job.state))] == [0]


@pytest.mark.parametrize("part", ["model", "rows"])
def test_inputs_that_changed_are_refused(
    make_shard_job: Callable[..., ScoringJob], part: str
) -> None:
    job = make_shard_job()
    changed = getattr(job, part).model_copy(update={"digest": "0" * 64})
    with pytest.raises(DataError, match=r"changed|another model"):
        score_units(job.model_copy(update={part: changed}), 0, 1, threads=1)


class Lengths:
    """Rows that are their own lengths."""

    def __init__(self, lengths: list[int]) -> None:
        self._lengths = lengths

    def lengths(self) -> list[int]:
        return self._lengths

    def batch(self, indices: Any) -> list[int]:
        return [self._lengths[index] for index in indices]


class Recorder:
    """A model whose values are the rows' lengths; remembers its batches."""

    width, digest = 1, ""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def count_windows(self, lengths: Any) -> Any:
        return np.ones_like(lengths)

    def compute(self, batch: list[int]) -> Any:
        self.batches.append(batch)
        return np.array(batch, np.float32)[:, None]


def test_rows_of_equal_length_are_computed_together_and_come_back_in_order() -> None:
    model, done = Recorder(), list[int]()
    with ThreadPoolExecutor(1) as pool:
        values = compute_by_length(model, Lengths([3, 9, 4, 9, 1]), 2, pool, done.append)
    assert model.batches == [[9, 9], [4, 3], [1]]
    assert values[:, 0].tolist() == [3, 9, 4, 9, 1]
    assert done == [2, 2, 1]


def test_no_rows_give_no_values() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert compute_by_length(Recorder(), Lengths([]), 2, pool, print).shape == (0, 1)
