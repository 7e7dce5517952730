from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.config.data import DataConfig
from components.progress import StepName
from components.scoring.job import (
    MAX_UNIT_ROWS,
    MIN_UNIT_ROWS,
    ModelInput,
    ScoringJob,
    ShardRows,
    SourceRows,
    describe_identity,
    job_id,
    list_differences,
)

RELEASE = ModelInput(kind="release", uri="/releases/1", digest="a" * 64)
SHARDS = ShardRows(uri="/shards", digest="b" * 64)
SOURCE = SourceRows(data=DataConfig(source="texts.csv", text=("text",)), digest="c" * 64)


def make_job(**changes: Any) -> ScoringJob:
    values = {
        "step": StepName.SCORE,
        "model": RELEASE,
        "rows": SHARDS,
        "row_count": 1300,
        "state": "/state",
    }
    return ScoringJob(**(values | changes))


@pytest.mark.parametrize(
    ("rows", "unit_rows"),
    [
        pytest.param(1, MIN_UNIT_ROWS, id="one"),
        pytest.param(200_000, MIN_UNIT_ROWS, id="test-split"),
        pytest.param(1_000_000, 2048, id="million"),
        pytest.param(1 << 40, MAX_UNIT_ROWS, id="huge"),
    ],
)
def test_units_grow_with_the_rows_within_bounds(rows: int, unit_rows: int) -> None:
    assert make_job(row_count=rows).unit_rows == unit_rows


def test_units_hold_every_row_once() -> None:
    job = make_job()
    ranges = [job.unit_range(unit) for unit in range(job.unit_count)]
    assert [row for each in ranges for row in each] == list(range(1300))
    assert [len(each) for each in ranges] == [512, 512, 276]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"state": "gs://other/state"}, id="state"),
        pytest.param({"step": StepName.GATE}, id="step"),
        pytest.param({"model": RELEASE.model_copy(update={"uri": "gs://b/1"})}, id="model-uri"),
        pytest.param({"rows": SHARDS.model_copy(update={"uri": "gs://b/s"})}, id="shards-uri"),
    ],
)
def test_paths_do_not_change_the_identity(changes: dict[str, Any]) -> None:
    assert job_id(make_job(**changes)) == job_id(make_job())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"row_count": 1299}, id="rows"),
        pytest.param({"batch_rows": 7}, id="batch"),
        pytest.param({"output": "embeddings"}, id="output"),
        pytest.param({"model": RELEASE.model_copy(update={"digest": "d" * 64})}, id="model"),
        pytest.param({"rows": SHARDS.model_copy(update={"split": "validation"})}, id="split"),
        pytest.param({"rows": SOURCE}, id="source"),
    ],
)
def test_what_changes_the_results_changes_the_identity(changes: dict[str, Any]) -> None:
    assert job_id(make_job(**changes)) != job_id(make_job())


def test_only_options_of_reading_texts_are_part_of_the_identity() -> None:
    def identity(**options: Any) -> Any:
        data = SOURCE.data.model_copy(update=options)
        rows = SOURCE.model_copy(update={"data": data})
        return describe_identity(make_job(rows=rows))

    assert identity(label="topic", max_bad_rows=5) == identity()
    assert identity(delimiter=";") != identity()
    assert identity(text=("title",)) != identity()


def test_a_time_is_part_of_the_identity_if_rows_are_chosen_by_it() -> None:
    def identity(end_time: str, **options: Any) -> Any:
        update = {"source": "gs://b/{date}.csv", "end_time": end_time, **options}
        data = SOURCE.data.model_copy(update=update)
        return describe_identity(make_job(rows=SOURCE.model_copy(update={"data": data})))

    times = ("2026-11-30T03:00:00Z", "2026-11-30T04:00:00Z")
    by_day, by_window = (
        [identity(time, **options) for time in times]
        for options in ({}, {"time_column": "time", "window": "1d"})
    )
    assert by_day[0] == by_day[1] == identity(times[0], source="gs://b/2026-11-30.csv")
    assert list_differences(*by_window) == ["data.end_time"]
    same_time = identity("2026-11-30T04:00:00+01:00", time_column="time", window="1d")
    assert same_time == by_window[0]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"rows": SOURCE}, id="texts"),
        pytest.param({"output": "embeddings"}, id="embeddings"),
    ],
)
def test_a_checkpoint_scores_token_ids_only(changes: dict[str, Any]) -> None:
    checkpoint = ModelInput(kind="checkpoint", uri="/c", digest="e" * 64)
    with pytest.raises(ValidationError, match="token shards only"):
        make_job(model=checkpoint, **changes)


def test_the_document_is_read_as_it_was_written() -> None:
    for rows in (SHARDS, SOURCE):
        job = make_job(rows=rows)
        assert ScoringJob.model_validate_json(job.model_dump_json()) == job


def test_what_differs_is_named_by_its_option() -> None:
    data = DataConfig(source="./other.csv", text=("text",), delimiter=";")
    other = SOURCE.model_copy(update={"data": data, "digest": "d" * 64})
    found, wanted = (describe_identity(make_job(rows=rows)) for rows in (other, SOURCE))
    assert list_differences(found, found) == []
    assert list_differences(found, wanted) == ["source", "data.source", "data.delimiter"]
    assert list_differences({}, wanted | {"data": {"source": 1}})[-2:] == ["data.source", "keep"]
