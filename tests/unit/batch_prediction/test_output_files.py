from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from components.batch_prediction.output_files import open_output


def test_json_lines_have_null_for_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    nan, infinity = float("nan"), float("inf")
    table = pa.table(
        {
            "double": pa.array([nan, None, -infinity, 0.1]),
            "single": pa.array([infinity, nan, 0.25, 0.1], pa.float32()),
            "day": pa.array([1, None, 2, 3], pa.date32()),
        }
    )
    with open_output(tmp_path / "lines", "jsonl") as write:
        write(table)
    assert (tmp_path / "lines").read_text().splitlines() == [
        '{"double": null, "single": null, "day": "1970-01-02"}',
        '{"double": null, "single": null, "day": null}',
        '{"double": null, "single": 0.25, "day": "1970-01-03"}',
        '{"double": 0.1, "single": 0.1, "day": "1970-01-04"}',
    ]
