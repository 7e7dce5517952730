from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.artifacts import manifest
from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.predictions import iterate_predictions
from components.artifacts.token_shards import open_shards
from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.schema import EvaluateConfig
from components.errors import ConfigError
from components.evaluate import step
from components.progress import StepName
from components.scoring.job import ModelInput, ScoringJob, ShardRows, job_id
from components.scoring.test_rows import TestRowScoring, choose_workers, score_split_rows
from components.scoring.unit_results import UnitResult, list_results, write_result
from components.storage.store import open_store
from tests.support.training.tiny_checkpoint import make_checkpoint, make_shards

ROWS = 1_100
LABELS = [row % 3 for row in range(ROWS)]
JOBSET = ClusterConfig(backend="jobset", step_cpu="1", cpu="2")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    make_shards(directory / "shards", LABELS)
    make_checkpoint(directory / "checkpoint")
    return directory


def write_made_up_scores(inputs: Path, state: Path, step_name: StepName) -> list[Path]:
    """Results of all three units, such as another run left them; their files."""
    job = ScoringJob(
        step=step_name,
        model=ModelInput(
            kind="checkpoint", uri="elsewhere", digest=open_checkpoint(inputs / "checkpoint").digest
        ),
        rows=ShardRows(uri="elsewhere", digest=open_shards(inputs / "shards").digest),
        row_count=ROWS,
        state="",
        batch_rows=EvaluateConfig().batch_size,
    )
    home = state / "scores" / job_id(job)
    store = open_store(str(home))
    for unit in range(job.unit_count):
        rows = np.arange(job.unit_range(unit).start, job.unit_range(unit).stop)
        values = np.tile(np.array([[0.5, 0.25, 0.25]], np.float32), (len(rows), 1))
        write_result(store, job, UnitResult(unit, rows, values))
    return [home / keys[0] for _, keys in sorted(list_results(store).items())]


def evaluate(inputs: Path, output: Path, state: Path, workers: int = 0) -> bytes:
    """The report's manifest and predictions."""
    scoring = TestRowScoring(state=str(state))
    config = EvaluateConfig(workers=workers)
    step.run(config, inputs / "shards", inputs / "checkpoint", output, scoring)
    sealed = json.loads((output / manifest.MANIFEST_FILENAME).read_text())
    return json.dumps(sealed["files"]).encode() + (output / "predictions.arrow").read_bytes()


def test_scores_of_the_same_checkpoint_and_rows_are_found(inputs: Path, tmp_path: Path) -> None:
    files = write_made_up_scores(inputs, tmp_path / "state", StepName.TRAIN)
    times = [path.stat().st_mtime_ns for path in files]
    evaluate(inputs, tmp_path / "report", tmp_path / "state")
    scores = np.concatenate([part.scores for part in iterate_predictions(tmp_path / "report")])
    assert scores.shape == (ROWS, 3) and (scores == [0.5, 0.25, 0.25]).all()
    assert [path.stat().st_mtime_ns for path in files] == times


def test_a_damaged_part_is_scored_again_alone(inputs: Path, tmp_path: Path) -> None:
    files = write_made_up_scores(inputs, tmp_path / "state", StepName.EVALUATE)
    content = files[1].read_bytes()
    files[1].write_bytes(content[:-20] + b"x" * 20)
    evaluate(inputs, tmp_path / "report", tmp_path / "state")
    scores = np.concatenate([part.scores for part in iterate_predictions(tmp_path / "report")])
    made_up = (scores == [0.5, 0.25, 0.25]).all(axis=1)
    assert made_up[:512].all() and not made_up[512:1024].any() and made_up[1024:].all()


@pytest.mark.slow
def test_the_report_is_the_same_for_any_number_of_workers(inputs: Path, tmp_path: Path) -> None:
    reports = {
        evaluate(inputs, tmp_path / f"report-{workers}", tmp_path / f"state-{workers}", workers)
        for workers in (0, 1, 2)
    }
    assert len(reports) == 1


@pytest.mark.parametrize(
    ("wanted", "cluster", "tokens", "expected"),
    [
        pytest.param(3, ClusterConfig(), 10, 3, id="a number"),
        pytest.param(0, JOBSET, 10**12, 0, id="none"),
        pytest.param("auto", ClusterConfig(), 10**12, 0, id="workers of this machine"),
        pytest.param("auto", JOBSET, 80_000, 0, id="little work"),
        # 2 x 110 million operations for each token; 600 s at 3e10 on each of two cores.
        pytest.param("auto", JOBSET, 90_000, 1, id="more than ten minutes of the step's core"),
        pytest.param("auto", JOBSET, 400_000, 3, id="three workers for ten minutes"),
        pytest.param("auto", JOBSET, 10**9, 8, id="at most those of training"),
        pytest.param(
            "auto", JOBSET.model_copy(update={"gpus": 1}), 20_000_000, 2, id="workers with a GPU"
        ),
    ],
)
def test_workers_are_as_many_as_finish_within_ten_minutes(
    inputs: Path, wanted: int, cluster: ClusterConfig, tokens: int, expected: int
) -> None:
    shards = open_shards(inputs / "shards")
    info = shards.content.splits["test"].model_copy(update={"tokens": tokens})
    shards.content = shards.content.model_copy(
        update={"splits": {**shards.content.splits, "test": info}}
    )
    sealed = open_checkpoint(inputs / "checkpoint").manifest
    entry = next(iter(sealed.files.values())).model_copy(update={"size": 440_000_000})
    scoring = TestRowScoring(cluster=cluster, max_workers=8)
    assert expected == choose_workers(
        EvaluateConfig(workers=wanted),
        scoring,
        shards,
        sealed.model_copy(update={"files": {"weights": entry}}),
    )


def test_without_its_volume_the_scores_are_not_kept(inputs: Path, tmp_path: Path) -> None:
    assert not Path(STATE_MOUNT).exists()
    scoring = TestRowScoring(state=STATE_MOUNT)
    step.run(EvaluateConfig(), inputs / "shards", inputs / "checkpoint", tmp_path / "r", scoring)
    assert not Path(STATE_MOUNT).exists()


def test_paths_that_pods_cannot_read_are_named_with_the_remedy(inputs: Path) -> None:
    scoring = TestRowScoring(
        state="gs://bucket/state", cluster=JOBSET, shards_uri="gs://bucket/shards"
    )
    with pytest.raises(ConfigError, match=r"/somewhere: the workers' pods .* evaluate\.workers=0"):
        next(
            score_split_rows(
                StepName.EVALUATE,
                open_checkpoint(inputs / "checkpoint"),
                "/somewhere",
                open_shards(inputs / "shards"),
                EvaluateConfig(workers=2),
                scoring,
            )
        )
