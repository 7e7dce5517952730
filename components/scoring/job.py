"""The job document of a scoring, equal for all its workers, and what identifies its results.

Rows are cut into units by their position alone, and a unit's result depends on nothing but the
model, the unit's rows and `batch_rows`. So the results are the same for any number of workers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.config.data import DataConfig
from components.config.renamed_options import from_stored_names, to_stored_names
from components.data.source_files import normalize_name
from components.data.split_names import SplitName
from components.data.time_window import fill_date_placeholder, parse_window
from components.progress import StepName

RESULT_FORMAT = 1
"""Raise it when the same job would give other results: those of older formats are not used."""
DEFAULT_BATCH_ROWS = 64
MIN_UNIT_ROWS = 512
MAX_UNIT_ROWS = 16_384
MAX_UNITS_OF_MIN_ROWS = 512
"""Units grow with the rows from here on, so that there are not too many files to list."""
_UNIT_STEP = 256
_IRRELEVANT_DATA_OPTIONS = frozenset(
    {
        "test_source",
        "label",
        "classes",
        "max_classes",
        "max_bad_rows",
        "validation_fraction",
        "test_fraction",
        "stratify",
    }
)
"""Options of `data` that do not change which texts are read."""


class ModelInput(BaseModel):
    """The model that scores: path or URI of its artifact, and the digest of its manifest."""

    model_config = ConfigDict(frozen=True)
    kind: Literal["checkpoint", "release"]
    uri: str
    digest: str


class ShardRows(BaseModel):
    """The rows of one split of token shards."""

    model_config = ConfigDict(frozen=True)
    kind: Literal["shards"] = "shards"
    uri: str
    digest: str
    split: SplitName = "test"


class SourceRows(BaseModel):
    """The rows of a text source, in its order; malformed rows have a position, too.

    digest: `Source.sha256`.
    keep: columns that are written beside the scores, with the name of their Arrow type.
    paths: local files by the source's names, where a launcher of this machine downloaded them.
    """

    model_config = ConfigDict(frozen=True)
    kind: Literal["source"] = "source"
    data: DataConfig
    digest: str
    keep: dict[str, str] = {}
    paths: dict[str, str] = {}


class ScoringJob(BaseModel):
    """What the workers compute, and the directory or URI (`state`) that the results go to.

    step: the step that progress is reported for.
    row_count: positions of the rows, those that are rejected included.
    output: `scores` are class probabilities; `embeddings` (releases only) the vectors of the
        encoder that the classes are computed from.
    """

    model_config = ConfigDict(frozen=True)
    step: StepName
    model: ModelInput
    rows: ShardRows | SourceRows = Field(discriminator="kind")
    row_count: int = Field(gt=0)
    state: str
    batch_rows: int = Field(DEFAULT_BATCH_ROWS, gt=0)
    output: Literal["scores", "embeddings"] = "scores"

    @model_validator(mode="after")
    def _check_combination(self) -> ScoringJob:
        if self.model.kind == "checkpoint" and (
            self.rows.kind == "source" or self.output == "embeddings"
        ):
            raise ValueError("a checkpoint scores token shards only, and gives no embeddings")
        return self

    @property
    def unit_rows(self) -> int:
        """Positions of every unit but the last; a function of `row_count` alone."""
        wanted = -(-self.row_count // MAX_UNITS_OF_MIN_ROWS)
        rounded = -(-wanted // _UNIT_STEP) * _UNIT_STEP
        return min(max(rounded, MIN_UNIT_ROWS), MAX_UNIT_ROWS)

    @property
    def unit_count(self) -> int:
        """Number of units; unit k has the rows from k * unit_rows on."""
        return -(-self.row_count // self.unit_rows)

    def unit_range(self, unit: int) -> range:
        """The positions of a unit's rows."""
        start = unit * self.unit_rows
        return range(start, min(start + self.unit_rows, self.row_count))


def describe_identity(job: ScoringJob) -> dict[str, Any]:
    """All that determines the results, by name: no path of an artifact, no number of workers."""
    identity: dict[str, Any] = {
        "format": RESULT_FORMAT,
        "model": [job.model.kind, job.model.digest],
        "row_count": job.row_count,
        "batch_rows": job.batch_rows,
        "output": job.output,
    }
    if isinstance(job.rows, ShardRows):
        return identity | {"shards": job.rows.digest, "split": job.rows.split}
    return identity | {
        "source": job.rows.digest,
        "data": data_identity(job.rows.data),
        "keep": job.rows.keep,
    }


def data_identity(data: DataConfig) -> dict[str, Any]:
    """The options of `data` that determine which texts are read, with {date} filled in.

    Without a time column `end_time` only fills {date}: two scheduled times of a day read the same.
    """
    options = data.model_dump(mode="json", exclude=set(_IRRELEVANT_DATA_OPTIONS))
    window = parse_window(data)
    options |= {
        "source": [normalize_name(name) for name in fill_date_placeholder(data)],
        "end_time": None if window is None else window.end.isoformat(),
    }
    return to_stored_names("data", options)


def list_differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Names in `wanted` that `found` has another value of; each option as `data.<option>`."""
    different = []
    for name in wanted:
        if found.get(name) == wanted[name]:
            continue
        if name != "data":
            different.append(name)
            continue
        old, new = (from_stored_names("data", each.get("data") or {}) for each in (found, wanted))
        different += [
            f"data.{option}" for option in old | new if old.get(option) != new.get(option)
        ]
    return different


def job_id(job: ScoringJob) -> str:
    """SHA-256 (hex) of `describe_identity`: equal jobs have equal results."""
    return hashlib.sha256(json.dumps(describe_identity(job), sort_keys=True).encode()).hexdigest()
