"""Results of units: one Arrow IPC file each, which exists completely or not at all.

`units/000012-<first 16 hex digits of the SHA-256 of its bytes>.arrow` has a row per scored row:

    row: int64                      position in the source or split, from 0
    values: fixed_size_list<float>  class probabilities, or the embedding
    keep:<name>                     a column of the source that is kept

The schema's metadata names the job and the unit, and lists the rejected rows. A file is put in
place in one step, so a name whose digest does not match has a damaged file.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.errors import DataError
from components.scoring.job import ScoringJob, job_id
from components.storage.store import MissingError, Store, open_store

UNITS_DIRECTORY = "units"
IDENTITY_KEY = "identity.json"
DIGEST_LENGTH = 16
_NAME_PATTERN = re.compile(rf"{UNITS_DIRECTORY}/(\d{{6,}})-([0-9a-f]{{{DIGEST_LENGTH}}})\.arrow")
_METADATA_KEY = b"kubert"
_KEPT_PREFIX = "keep:"
Values = npt.NDArray[np.float32]


class RejectedRow(NamedTuple):
    """A row that was not scored, and why.

    position: in the source, from 0; number: in its file, from 1; line: 0 for files without lines;
    columns: those that the reason is about.
    """

    position: int
    number: int
    line: int
    file: str
    columns: str
    reason: str


@dataclass(frozen=True)
class UnitResult:
    """What a unit's rows gave.

    rows: int64 [n], positions of the scored rows; values: float32 [n, width]; kept: an Arrow array
    [n] for each kept column; rejected: the other rows of the unit.
    """

    unit: int
    rows: npt.NDArray[np.int64]
    values: Values
    kept: Mapping[str, pa.Array] = field(default_factory=dict)
    rejected: Sequence[RejectedRow] = ()


class DamagedResultError(DataError):
    """A unit's result has other bytes than its name says, or is not of this job."""


def write_result(store: Store, job: ScoringJob, result: UnitResult) -> str:
    """Put a unit's result in place; its key. The same result always has the same key and bytes."""
    data = serialize_result(job, result)
    digest = hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH]
    key = f"{UNITS_DIRECTORY}/{result.unit:06d}-{digest}.arrow"
    store.write(key, data)
    return key


def serialize_result(job: ScoringJob, result: UnitResult) -> bytes:
    """The bytes of a result's file."""
    metadata = {
        "job": job_id(job),
        "unit": result.unit,
        "positions": [job.unit_range(result.unit).start, len(job.unit_range(result.unit))],
        "rejected": [list(row) for row in result.rejected],
    }
    width = result.values.shape[1]
    schema = pa.schema(
        [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("values", pa.list_(pa.float32(), width), nullable=False),
            *(pa.field(f"{_KEPT_PREFIX}{name}", each.type) for name, each in result.kept.items()),
        ],
        {_METADATA_KEY: json.dumps(metadata, ensure_ascii=False).encode()},
    )
    flat = pa.array(np.ascontiguousarray(result.values, np.float32).ravel(), pa.float32())
    columns = [
        pa.array(result.rows, pa.int64()),
        pa.FixedSizeListArray.from_arrays(flat, width),
        *result.kept.values(),
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    data: bytes = sink.getvalue().to_pybytes()
    return data


def list_results(store: Store) -> dict[int, list[str]]:
    """Keys of the results by unit; a unit has several only if machines computed other values."""
    found: dict[int, list[str]] = {}
    for key in store.list(UNITS_DIRECTORY):
        if match := _NAME_PATTERN.fullmatch(key):
            found.setdefault(int(match[1]), []).append(key)
    return found


def find_finished_units(
    store: Store, job: ScoringJob, units: Collection[int]
) -> tuple[set[int], list[str]]:
    """Those of `units` that have a valid result, and what was wrong with each damaged one.

    Damaged results are deleted, so that their units are scored again.
    """
    finished, problems = set(), []
    for unit, keys in list_results(store).items():
        for key in keys if unit in units else ():
            try:
                load_result(store, job, key)
            except MissingError:
                continue  # another worker found it damaged, and deleted it
            except DamagedResultError as error:
                store.delete(key)
                problems.append(str(error))
            else:
                finished.add(unit)
    return finished, problems


def read_results(job: ScoringJob) -> Iterator[UnitResult]:
    """Verified results of all units in their order, one in memory at a time.

    DataError that names the first unit whose result is missing or damaged.
    """
    store = open_store(job.state)
    found = list_results(store)
    for unit in range(job.unit_count):
        keys = sorted(found.get(unit, ()))
        if not keys:
            raise DataError(
                f"{store.uri()}: unit {unit} of {job.unit_count} has no result; "
                "run the same command again to score its rows"
            )
        yield load_result(store, job, keys[0])


def load_result(store: Store, job: ScoringJob, key: str) -> UnitResult:
    """The verified result with this key; DamagedResultError if it is not what its name says."""
    match = _NAME_PATTERN.fullmatch(key)
    assert match is not None, key
    with tempfile.TemporaryDirectory(prefix="kubert-unit-") as temporary:
        local = Path(temporary) / "unit"
        store.download(key, local)
        data = local.read_bytes()
    if hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH] != match[2]:
        raise DamagedResultError(
            f"{store.uri(key)}: damaged, its SHA-256 is not that of its name; "
            "run the same command again to score its rows"
        )
    with pa.ipc.open_file(pa.BufferReader(data)) as file:
        batch = file.get_batch(0)
    metadata = json.loads(batch.schema.metadata[_METADATA_KEY])
    if (metadata["job"], metadata["unit"]) != (job_id(job), int(match[1])):
        raise DamagedResultError(
            f"{store.uri(key)}: is the result of another job or unit; "
            "run the same command again to score its rows"
        )
    return _to_result(batch, metadata)


def _to_result(batch: pa.RecordBatch, metadata: Mapping[str, Any]) -> UnitResult:
    values = batch.column("values")
    width = values.type.list_size
    return UnitResult(
        unit=metadata["unit"],
        rows=batch.column("row").to_numpy(),
        values=values.flatten().to_numpy().reshape(len(batch), width),
        kept={
            name.removeprefix(_KEPT_PREFIX): batch.column(name)
            for name in batch.schema.names
            if name.startswith(_KEPT_PREFIX)
        },
        rejected=[RejectedRow(*row) for row in metadata["rejected"]],
    )
