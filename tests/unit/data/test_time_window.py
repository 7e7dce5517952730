from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.schema import DataConfig
from components.data.labelled_text import open_dataset
from components.data.rows import ExcludedRows, MalformedRow, Row, RowBatch
from components.data.time_window import Window, fill_date_placeholder, parse_timestamp, parse_window
from components.errors import ConfigError, DataError
from tests.support.examples import list_examples
from tests.support.rows import list_rows

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
    assert (found.column, found.start, found.end) == ("created", start, JANUARY)


def test_without_a_time_column_rows_are_not_chosen_by_time() -> None:
    assert parse_window(DataConfig(end_time="2026-01-31")) is None
    assert parse_window(DataConfig(time_column="created")) is None


def test_a_window_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.window: 30d has no end\. Set data\.end_time"):
        parse_window(DataConfig(time_column="created", window="30d"))


def test_a_window_that_begins_before_the_calendar_is_refused() -> None:
    for window in ("999999d", "9999999999999w"):
        with pytest.raises(ConfigError, match=r"data\.window: .* before the year 1"):
            parse_window(DataConfig(time_column="created", window=window, end_time="2026-01-31"))


def test_the_date_in_a_source_is_the_day_of_until_in_utc() -> None:
    assert fill_date_placeholder(
        DataConfig(source="gs://b/{date}/rows-{date}.csv", end_time="2026-02-01T01:00:00+02:00")
    ) == ("gs://b/2026-01-31/rows-2026-01-31.csv",)
    assert fill_date_placeholder(DataConfig(source="rows.csv")) == ("rows.csv",)
    with pytest.raises(
        ConfigError, match=r"\{date\}, the day of data\.end_time; set data\.end_time"
    ):
        fill_date_placeholder(DataConfig(source="{date}.csv"))


def rows_in(path: Path, **options: object) -> tuple[list[str], dict[str, int], Counter[str]]:
    values = {
        "source": str(path),
        "text": ("text",),
        "time_column": "created",
        "max_bad_rows": 10,
        **options,
    }
    with open_dataset(DataConfig.model_validate(values)) as dataset:
        examples = dataset.read_examples()
        texts = [example.text for example in list_examples(examples)]
        return texts, dict(dataset.outside_window), examples.stats.rejected.counts


def write_rows(path: Path, times: list[str]) -> Path:
    path.write_text(
        "created,text,label\n"
        + "".join(f"{time},text {n},{'ab'[n % 2]}\n" for n, time in enumerate(times))
    )
    return path


def test_rows_outside_the_window_are_excluded_and_counted(tmp_path: Path) -> None:
    path = write_rows(
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
    texts, outside, refused = rows_in(path, window="30d", end_time="2026-01-31")
    assert texts == ["text 0", "text 1", "text 2"]
    assert outside == {"not before data.end_time": 1, "older than the window": 1}
    assert refused == {"created: time that is not ISO 8601": 1}


TIMES = st.one_of(
    st.datetimes(
        datetime.datetime(2025, 12, 31), datetime.datetime(2026, 1, 2), timezones=st.timezones()
    ).map(lambda time: time.isoformat()),
    st.sampled_from(
        ["2026-01-01", "2026-01-01 06:00", " 2025-12-31T23:59:59.999999Z ", "soon", ""]
    ),
    st.sampled_from([None, 7, datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 1)]),
)


@given(st.lists(TIMES, max_size=12), st.booleans())
def test_a_batch_is_filtered_as_its_rows_are_one_by_one(times: list[object], bounded: bool) -> None:
    start = datetime.datetime(2026, 1, 1, tzinfo=UTC) if bounded else None
    end = datetime.datetime(2026, 1, 1, 12, tzinfo=UTC)
    numbers = range(1, len(times) + 1)
    batch = RowBatch(numbers, numbers, {"created": times, "text": [*map(str, numbers)]})
    rows: list[Row | MalformedRow] = []
    excluded: Counter[str] = Counter()
    for number, time in enumerate(times, 1):
        parsed = parse_timestamp(time)
        if parsed is None:
            rows.append(MalformedRow(number, number, "created: time that is not ISO 8601"))
        elif parsed >= end:
            excluded["not before data.end_time"] += 1
        elif start is not None and parsed < start:
            excluded["older than the window"] += 1
        else:
            rows.append(Row(number, number, [time, str(number)]))
    filtered = [*Window("created", start, end).filter(batch)]
    assert list_rows(iter(filtered)) == rows
    counted: Counter[str] = Counter()
    for item in filtered:
        if isinstance(item, ExcludedRows):
            counted[item.reason] += item.rows
    assert counted == excluded


def test_only_rows_within_the_window_are_cached(tmp_path: Path) -> None:
    """A large file of which a small window is read is parsed once."""
    path = write_rows(tmp_path / "a.csv", ["2026-01-01", "2026-01-02", "2026-03-01"])
    config = DataConfig(
        source=str(path), text=("text",), time_column="created", end_time="2026-02-01"
    )
    with open_dataset(config) as dataset:
        path.write_text("gone")
        assert [text for batch in dataset.read_examples() for text in batch.texts] == [
            "text 0",
            "text 1",
        ]


def test_classes_are_those_within_the_window(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "created,text,label\n"
        + "".join(f"2026-01-{n + 1:02},text {n},{'abc'[n // 10]}\n" for n in range(30))
    )
    with open_dataset(
        DataConfig(source=str(path), text=("text",), time_column="created", end_time="2026-01-21")
    ) as dataset:
        assert (dataset.labels.classes, dataset.rows) == (("a", "b"), 20)


def test_the_time_may_also_be_a_text_column(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.csv", ["2026-01-01", "2026-01-02", "2026-03-01"])
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
    path = write_rows(tmp_path / "a.csv", ["2026-01-01", "2026-01-02"])
    with pytest.raises(
        DataError, match=r"no row is in the window \(rows 2 not before data\.end_time\)"
    ):
        rows_in(path, end_time="2025-01-01")
    with pytest.raises(DataError, match=r"no column 'when'.*data\.time"):
        rows_in(path, time_column="when", end_time="2026-01-03")


def test_the_test_source_is_read_whole(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.csv", ["2026-01-01", "2026-01-02", "2026-02-02"])
    (tmp_path / "test.csv").write_text("text,label\nold,a\n")
    texts, outside, _ = rows_in(path, test_source=str(tmp_path / "test.csv"), end_time="2026-02-01")
    assert (texts, outside) == (["old", "text 0", "text 1"], {"not before data.end_time": 1})
