from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config.schema import DataConfig
from components.data.labelled_text import RejectedRows, open_dataset
from components.data.time_window import fill_date_placeholder, parse_timestamp, parse_window
from components.errors import ConfigError, DataError

UTC = datetime.UTC
JANUARY = datetime.datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("2026-01-31", JANUARY, id="day"),
        pytest.param(" 2026-01-31T00:00:00Z ", JANUARY, id="zulu"),
        pytest.param("2026-01-31 02:30:00+02:30", JANUARY, id="zone"),
        pytest.param(datetime.date(2026, 1, 31), JANUARY, id="date"),
        pytest.param(datetime.datetime(2026, 1, 31), JANUARY, id="no-zone-is-utc"),
        pytest.param("", None, id="empty"),
        pytest.param("31.01.2026", None, id="another-notation"),
        pytest.param(1_700_000_000, None, id="number"),
        pytest.param(None, None, id="missing"),
        pytest.param("0001-01-01T00:00+01:00", None, id="before-the-calendar"),
    ],
)
def test_a_time_is_read_as_utc_or_not_at_all(
    written: object, meant: datetime.datetime | None
) -> None:
    assert parse_timestamp(written) == meant


@pytest.mark.parametrize(
    ("window", "start"),
    [
        ("36h", datetime.datetime(2026, 1, 29, 12, tzinfo=UTC)),
        ("30d", datetime.datetime(2026, 1, 1, tzinfo=UTC)),
        (None, None),
    ],
)
def test_the_window_ends_at_until(window: str | None, start: datetime.datetime | None) -> None:
    found = parse_window(DataConfig(time_column="created", window=window, end_time="2026-01-31"))
    assert found is not None
    assert (found.column, found.start, found.until) == ("created", start, JANUARY)


def test_without_a_time_column_rows_are_not_chosen_by_time() -> None:
    assert parse_window(DataConfig(end_time="2026-01-31")) is None
    assert parse_window(DataConfig(time_column="created")) is None


def test_a_window_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.window: 30d before when\? Set data\.end_time"):
        parse_window(DataConfig(time_column="created", window="30d"))


def test_a_window_that_begins_before_the_calendar_is_refused() -> None:
    for window in ("999999d", "9999999999999w"):
        with pytest.raises(ConfigError, match=r"data\.window: .* before the year 1"):
            parse_window(DataConfig(time_column="created", window=window, end_time="2026-01-31"))


def test_the_date_in_a_source_is_the_day_of_until_in_utc() -> None:
    assert (
        fill_date_placeholder(
            DataConfig(source="gs://b/{date}/rows-{date}.csv", end_time="2026-02-01T01:00:00+02:00")
        )
        == "gs://b/2026-01-31/rows-2026-01-31.csv"
    )
    assert fill_date_placeholder(DataConfig(source="rows.csv")) == "rows.csv"
    with pytest.raises(
        ConfigError, match=r"\{date\}, the day of data\.end_time; set data\.end_time"
    ):
        fill_date_placeholder(DataConfig(source="{date}.csv"))


def rows_in(path: Path, **options: object) -> tuple[list[str], dict[str, int], Counter[str]]:
    values = {"source": str(path), "text": ("text",), "time_column": "created", **options}
    with open_dataset(DataConfig.model_validate(values)) as corpus:
        refusals = RejectedRows(10)
        texts = [example.text for example in corpus.examples(refusals, Counter())]
        return texts, dict(corpus.left_out), refusals.counts


def written(path: Path, times: list[str]) -> Path:
    path.write_text(
        "created,text,label\n"
        + "".join(f"{time},text {n},{'ab'[n % 2]}\n" for n, time in enumerate(times))
    )
    return path


def test_rows_outside_are_left_out_and_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv",
        [
            "2026-01-01",
            "2026-01-02T00:00Z",
            "2026-01-30T23:59:59",
            "2026-01-31",
            "soon",
            "2025-12-31",
        ],
    )
    texts, left_out, refused = rows_in(path, window="30d", end_time="2026-01-31")
    assert texts == ["text 0", "text 1", "text 2"]
    assert left_out == {"not before data.end_time": 1, "older than the window": 1}
    assert refused == {"created: time that is not ISO 8601": 1}


def test_classes_are_those_within_the_window(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "created,text,label\n"
        + "".join(f"2026-01-{n + 1:02},text {n},{'abc'[n // 10]}\n" for n in range(30))
    )
    with open_dataset(
        DataConfig(source=str(path), text=("text",), time_column="created", end_time="2026-01-21")
    ) as corpus:
        assert (corpus.labels.classes, corpus.rows) == (("a", "b"), 20)


def test_the_time_may_also_be_a_text_column(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", ["2026-01-01", "2026-01-02", "2026-03-01"])
    assert rows_in(path, text=("created",), end_time="2026-02-01")[0] == [
        "2026-01-01",
        "2026-01-02",
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_timestamps_of_every_unit(unit: str, tmp_path: Path) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    times = pa.array(
        [
            (int(JANUARY.timestamp()) + offset) * per_second + (unit == "ns")
            for offset in (-10, -1, 0)
        ],
        pa.timestamp(unit),
    )
    pq.write_table(
        pa.table({"created": times, "text": ["x", "y", "z"], "label": ["a", "b", "a"]}),
        tmp_path / "a.parquet",
    )
    assert rows_in(tmp_path / "a.parquet", end_time="2026-01-31")[:2] == (
        ["x", "y"],
        {"not before data.end_time": 1},
    )


def test_a_window_without_rows_and_a_missing_column_say_what_is_wrong(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", ["2026-01-01", "2026-01-02"])
    with pytest.raises(
        DataError, match=r"no row is in the window \(rows 2 not before data\.end_time\)"
    ):
        rows_in(path, end_time="2025-01-01")
    with pytest.raises(DataError, match=r"no column 'when'.*data\.time"):
        rows_in(path, time_column="when", end_time="2026-01-03")


def test_the_test_source_is_read_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", ["2026-01-01", "2026-01-02", "2026-02-02"])
    (tmp_path / "test.csv").write_text("text,label\nold,a\n")
    texts, left_out, _ = rows_in(
        path, test_source=str(tmp_path / "test.csv"), end_time="2026-02-01"
    )
    assert (texts, left_out) == (["old", "text 0", "text 1"], {"not before data.end_time": 1})
