"""A window in time: the same rows are the same shards, unreadable times are rejected."""

from pathlib import Path

import pytest

from components.errors import DataError
from tests.support.source_files import GOOD, tokenize


def write_windowed_source(tmp_path: Path, rows: list[tuple[str, str, str]], **options):
    tmp_path.mkdir(exist_ok=True)
    lines = "".join(f"{time},{text},{label}\n" for time, text, label in rows)
    return tokenize(tmp_path, "created,text,label\n" + lines, time_column="created", **options)


def test_the_same_rows_are_the_same_shards_whenever_they_are_read(tmp_path):
    """Fault D9."""
    january = [(f"2026-01-{1 + n % 28:02}", text, label) for n, (text, label) in enumerate(GOOD)]
    first = write_windowed_source(tmp_path / "first", january, end_time="2026-02-01")
    grown = write_windowed_source(
        tmp_path / "grown",
        [("2025-06-01", "long ago", "a"), *january, ("2026-02-02", "later", "b")],
        end_time="2026-02-02",
        window="60d",
    )
    assert grown.digest == first.digest
    assert grown.content.window == {
        "time": "created",
        "start": "2025-12-04T00:00:00+00:00",
        "until": "2026-02-02T00:00:00+00:00",
    }
    assert grown.content.notes == [
        "1 rows were left out: not before data.end_time",
        "1 rows were left out: older than the window",
    ]
    assert grown.content.source_sha256 != first.content.source_sha256
    other = write_windowed_source(
        tmp_path / "other", [*january, ("2026-02-01", "a new one", "b")], end_time="2026-02-02"
    )
    assert other.digest != first.digest


def test_unreadable_times_are_rejected_with_file_and_row(tmp_path):
    """Fault D9."""
    rows = [("2026-01-01", text, label) for text, label in GOOD]
    with pytest.raises(
        DataError, match=r"1 x created: time that is not ISO 8601\n.*row 201 \(line 202\)"
    ):
        write_windowed_source(tmp_path, [*rows, ("tomorrow", "x", "a")], end_time="2026-02-01")
    assert not (tmp_path / "shards").exists()
