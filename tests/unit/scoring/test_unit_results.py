from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.errors import DataError
from components.scoring.job import ScoringJob
from components.scoring.unit_results import (
    DamagedResultError,
    RejectedRow,
    UnitResult,
    find_finished_units,
    list_results,
    load_result,
    read_results,
    serialize_result,
    write_result,
)
from components.storage.store import open_store
from tests.support.stores.object_stores import StorageLocation
from tests.unit.scoring.test_job import make_job


def make_result(job: ScoringJob, unit: int) -> UnitResult:
    rows = np.array(job.unit_range(unit), np.int64)
    values = np.stack([rows / 1e6, 1 - rows / 1e6], axis=1).astype(np.float32)
    return UnitResult(unit, rows, values)


def test_results_are_read_in_the_order_of_the_rows(storage_location: StorageLocation) -> None:
    job = make_job(state=storage_location.uri)
    store = open_store(job.state)
    for unit in (2, 0, 1):
        write_result(store, job, make_result(job, unit))
    results = list(read_results(job))
    assert [result.unit for result in results] == [0, 1, 2]
    np.testing.assert_array_equal(np.concatenate([r.rows for r in results]), np.arange(1300))
    np.testing.assert_array_equal(results[1].values, make_result(job, 1).values)


def test_kept_columns_and_rejected_rows_come_back(tmp_path: Path) -> None:
    job = make_job(state=str(tmp_path))
    kept = {"row": pa.array(["a", None]), "values": pa.array([7, None], pa.int64())}
    rejected = [RejectedRow(1, 2, 3, "ä.csv", "text", "blank text")]
    result = UnitResult(0, np.array([0, 2]), np.zeros((2, 3), np.float32), kept, rejected)
    key = write_result(open_store(job.state), job, result)
    found = load_result(open_store(job.state), job, key)
    assert found.rejected == rejected
    assert {name: column.to_pylist() for name, column in found.kept.items()} == {
        "row": ["a", None],
        "values": [7, None],
    }


def test_a_unit_may_have_no_row_that_was_scored(tmp_path: Path) -> None:
    job = make_job(state=str(tmp_path))
    empty = UnitResult(0, np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
    found = load_result(open_store(job.state), job, write_result(open_store(job.state), job, empty))
    assert found.values.shape == (0, 3)


def test_the_same_result_has_the_same_name(tmp_path: Path) -> None:
    job = make_job(state=str(tmp_path))
    keys = {write_result(open_store(job.state), job, make_result(job, 1)) for _ in range(2)}
    assert len(keys) == 1 and list_results(open_store(job.state)) == {1: [*keys]}


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty"])
def test_a_damaged_result_is_refused_by_the_reader_and_deleted_by_a_worker(
    tmp_path: Path, damage: str
) -> None:
    job = make_job(state=str(tmp_path), row_count=600)
    store = open_store(job.state)
    keys = [write_result(store, job, make_result(job, unit)) for unit in (0, 1)]
    data = (tmp_path / keys[1]).read_bytes()
    damaged = {"truncated": data[:-9], "changed": data[:300] + b"?" + data[301:], "empty": b""}
    (tmp_path / keys[1]).write_bytes(damaged[damage])
    with pytest.raises(DamagedResultError, match=keys[1]):
        list(read_results(job))
    finished, problems = find_finished_units(store, job, range(2))
    assert finished == {0} and keys[1] in problems[0]
    assert list_results(store) == {0: [keys[0]]}


def test_a_result_of_another_job_is_not_used(tmp_path: Path) -> None:
    job, other = make_job(state=str(tmp_path)), make_job(batch_rows=3)
    write_result(open_store(job.state), other, make_result(other, 0))
    assert find_finished_units(open_store(job.state), job, range(3))[0] == set()


def test_a_missing_unit_is_named(tmp_path: Path) -> None:
    job = make_job(state=str(tmp_path))
    for unit in (0, 2):
        write_result(open_store(job.state), job, make_result(job, unit))
    with pytest.raises(DataError, match="unit 1 of 3 has no result"):
        list(read_results(job))


def test_unfinished_files_are_no_results(tmp_path: Path) -> None:
    job = make_job(state=str(tmp_path))
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / ".part-abc").write_bytes(serialize_result(job, make_result(job, 0)))
    (tmp_path / "units" / "notes.txt").write_text("x")
    assert list_results(open_store(job.state)) == {}
