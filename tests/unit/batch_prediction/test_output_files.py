from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.batch_prediction.output_files import build_table, open_output
from components.batch_prediction.request import BatchPredictionRequest, list_columns
from components.config.data import DataConfig
from components.errors import DataError, UsageError
from components.scoring.unit_results import UnitResult
from tests.support.kinds.release_contents import (
    MULTI_LABEL,
    REGRESSION,
    describe_task_release,
)

SCORES = np.array([[0.5, 0.25, 0.75], [0.25, 0.125, 0.5]], np.float32)
NUMBERS = np.array([[40.1], [-3.5]], np.float32)


def make_request(**changes: object) -> BatchPredictionRequest:
    data = DataConfig(source="texts.csv", text=("text",))
    values = {"release": "models/news", "data": data, "to": "out", **changes}
    return BatchPredictionRequest.model_validate(values)


def write_lines(
    path: Path, task: TaskInfo, values: np.ndarray, **changes: object
) -> tuple[list[str], pa.Table]:
    """The lines of the output of a unit, and its table."""
    request, content = make_request(**changes), describe_task_release(task)
    table = build_table(
        UnitResult(0, np.arange(len(values)), values),
        request,
        content,
        list_columns(request, content),
    )
    with open_output(path, request.format) as write:
        write(table)
    return path.read_text().splitlines(), table


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
    values = np.array([[0.25, 0.75], [0.5, value], [value, value]], np.float32)
    result = UnitResult(0, np.array([4, 6, 7]), values)
    with pytest.raises(DataError, match=r"models/news: gives values .* first for row 7 of"):
        build_table(result, make_request(), describe_task_release(SINGLE_LABEL), ["label", "score"])


def test_several_labels_are_a_list_and_joined_in_csv(tmp_path: Path) -> None:
    lines, table = write_lines(tmp_path / "lines", MULTI_LABEL, SCORES, format="jsonl")
    assert lines == ['{"labels": ["calm", "odd"]}', '{"labels": []}']
    assert table.schema.field("labels").type == pa.list_(pa.string())
    joined, _ = write_lines(tmp_path / "rows", MULTI_LABEL, SCORES, format="csv", separator="; ")
    assert joined == ["labels", "calm; odd", '""']


def test_scores_of_several_labels_are_written_on_request(tmp_path: Path) -> None:
    lines, _ = write_lines(tmp_path / "a", MULTI_LABEL, SCORES, format="csv", all_scores=True)
    assert lines == [
        "labels,score_calm,score_loud,score_odd",
        "calm|odd,0.5,0.25,0.75",
        ",0.25,0.125,0.5",
    ]


def test_numbers_are_one_column_of_float32(tmp_path: Path) -> None:
    lines, table = write_lines(tmp_path / "lines", REGRESSION, NUMBERS, format="csv")
    assert lines == ["value", "40.1", "-3.5"]
    assert table.schema.field("value").type == pa.float32()


@pytest.mark.parametrize("task", [MULTI_LABEL, REGRESSION], ids=lambda task: task.kind)
def test_embeddings_are_written_instead_of_labels_and_numbers(
    task: TaskInfo, tmp_path: Path
) -> None:
    lines, _ = write_lines(tmp_path / "a", task, SCORES, format="jsonl", embeddings=True)
    assert lines[0] == '{"embedding": [0.5, 0.25, 0.75]}'


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        pytest.param(
            REGRESSION, {"all_scores": True}, "score.all_scores: .* predicts numbers", id="scores"
        ),
        pytest.param(
            MULTI_LABEL,
            {"format": "csv", "separator": "l"},
            "score.separator 'l': the class 'calm' has it in its name",
            id="separator",
        ),
        pytest.param(MULTI_LABEL, {"keep": ("labels",)}, "'labels'; rename it", id="labels"),
        pytest.param(REGRESSION, {"keep": ("value",)}, "'value'; rename it", id="value"),
    ],
)
def test_options_that_do_not_fit_the_kind_of_task_are_refused(
    task: TaskInfo, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        list_columns(make_request(**changes), describe_task_release(task))


def test_a_separator_in_a_class_matters_in_csv_only() -> None:
    content = describe_task_release(MULTI_LABEL)
    assert list_columns(make_request(separator="l"), content) == ["labels"]
