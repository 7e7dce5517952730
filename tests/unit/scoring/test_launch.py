from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import DataError
from components.scoring.job import ScoringJob
from components.scoring.launch import build_worker_group, is_finished, run_scoring
from components.scoring.state_identity import claim_state, read_model_uri
from components.scoring.unit_results import list_results, write_result
from components.storage.store import open_store
from tests.unit.scoring.test_job import RELEASE, make_job
from tests.unit.scoring.test_unit_results import make_result


def write_units(job: ScoringJob, *units: int) -> list[str]:
    store = open_store(job.state)
    return [write_result(store, job, make_result(job, unit)) for unit in units]


def test_a_finished_scoring_starts_no_worker(tmp_path: Path) -> None:
    job = make_job(state=str(tmp_path))
    write_units(job, 0, 1, 2)
    run_scoring(job, workers=2)  # its model does not exist
    assert is_finished(job)


def test_a_state_of_another_job_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    job = make_job(state=str(tmp_path))
    claim_state(open_store(job.state), job)
    claim_state(open_store(job.state), job)
    other = make_job(
        state=job.state,
        batch_rows=3,
        model=RELEASE.model_copy(update={"digest": "f" * 64, "uri": "/releases/2"}),
    )
    with pytest.raises(
        DataError, match="the model /releases/1, not /releases/2, another value of batch_rows"
    ):
        run_scoring(other, workers=0)
    assert read_model_uri(open_store(job.state)) == "/releases/1"


def test_a_damaged_result_means_that_the_scoring_is_not_finished(tmp_path: Path) -> None:
    job = make_job(state=str(tmp_path))
    keys = write_units(job, 0, 1, 2)
    (tmp_path / keys[1]).write_bytes(b"torn")
    with pytest.raises(DataError, match="/releases/1"):
        run_scoring(job, workers=0)
    assert [*list_results(open_store(job.state))] == [0, 2]


def test_a_scoring_that_fails_without_logs_leaves_no_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with pytest.raises(DataError, match="/releases/1"):
        run_scoring(make_job(state=str(tmp_path / "state")), workers=0)
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_no_more_workers_than_units_start() -> None:
    job = make_job()
    assert [build_worker_group(job, count, 3).workers for count in (1, 3, 9)] == [1, 3, 3]
