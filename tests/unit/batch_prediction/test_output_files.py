from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.batch_prediction.output_files import build_table, open_output
from components.batch_prediction.request import BatchPredictionRequest
from components.config.data import DataConfig
from components.errors import DataError
from components.scoring.unit_results import UnitResult


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


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "infinity"])
def test_values_that_are_not_finite_give_no_label(value: float) -> None:
    request = BatchPredictionRequest(
        release="models/news", data=DataConfig(source="texts.csv", text=("text",)), to="out"
    )
    values = np.array([[0.25, 0.75], [0.5, value], [value, value]], np.float32)
    result = UnitResult(0, np.array([4, 6, 7]), values)
    with pytest.raises(DataError, match=r"models/news: gives values .* first for row 7 of"):
        build_table(result, request, ("calm", "loud"), ["label", "score"])
