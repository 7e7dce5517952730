"""Labels that do not fit the kind of task: an error that says which option or row to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config.schema import DataConfig, TaskConfig
from components.data.labelled_text import open_dataset
from components.errors import DataError

WORDS = [f"some words about number {number}" for number in range(20)]


def write_rows(path: Path, labels: list[Any], **columns: list[Any]) -> str:
    """Write rows with a text and a label, as CSV if all values are texts, else as JSON lines."""
    rows = [
        {"text": text, "label": labels[number % len(labels)]}
        | {name: values[number % len(values)] for name, values in columns.items()}
        for number, text in enumerate(WORDS)
    ]
    file = path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return str(file)


def read_all(task: dict[str, Any], **data: Any) -> list[Any]:
    """The labels of all rows."""
    config = DataConfig.model_validate({"text": "text", **data})
    with open_dataset(config, TaskConfig.model_validate(task)) as dataset:
        return [label for batch in dataset.read_examples() for label in batch.labels]


SEVERAL = {"kind": "multi_label"}
NUMBER = {"kind": "regression"}


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        pytest.param(
            ["1", "2", "five"], NUMBER, "label: label that is no number 'five'", id="a word"
        ),
        pytest.param([1, 2, float("nan")], NUMBER, "label that is not finite 'nan'", id="NaN"),
        pytest.param([1, 2, float("inf")], NUMBER, "label that is not finite 'inf'", id="infinity"),
        pytest.param([1, 2, [3.5]], NUMBER, "label that is a list or a record", id="a number list"),
        pytest.param([1, 2, True], NUMBER, "label that is no number 'True'", id="a truth value"),
        pytest.param(["1.5", "2", "2,5"], NUMBER, "Write numbers with a point", id="decimal comma"),
        pytest.param([3, "3.0"], NUMBER, "all rows have the number 3; there is nothing", id="same"),
        pytest.param(
            ["Sports", "World"],
            NUMBER,
            "'Sports', 'World', which are no numbers .* leave out task.kind=regression",
            id="names of classes",
        ),
        pytest.param(
            [["a", "b"], ["b"], [["a"]]],
            SEVERAL,
            "list or record in the list of labels",
            id="a nested list",
        ),
        pytest.param([["a"], ["b"], None], SEVERAL, "has an empty list, or an empty", id="null"),
        pytest.param(
            ["a|b", "b"], SEVERAL, "set task.separator='.'", id="a separator that is not given"
        ),
        pytest.param(
            ["a;b", "b"],
            SEVERAL | {"separator": "|"},
            "no field holds the separator '.'; the labels seem to be separated by ';'",
            id="a separator that is in no field",
        ),
        pytest.param(
            ["['a', 'b']", "a"],
            SEVERAL | {"separator": ","},
            "Write the labels as a.b and set task.separator",
            id="a list of Python as text",
        ),
    ],
)
def test_labels_of_another_kind_are_refused(
    tmp_path: Path, labels: list[Any], task: dict[str, Any], message: str
) -> None:
    """Fault D12."""
    with pytest.raises(DataError, match=message):
        read_all(task, source=write_rows(tmp_path, labels))


def test_an_unknown_name_in_a_list_is_refused_with_its_row(tmp_path: Path) -> None:
    """Fault D12."""
    source = write_rows(tmp_path, [["a"], ["b"], ["a", "c"]])
    with pytest.raises(DataError, match=r"row 3 \(line 3\): label: unknown label 'c'"):
        read_all(SEVERAL, source=source, classes=["a", "b"])


@pytest.mark.parametrize("value", [2, "yes", -1, 0.5, None], ids=str)
def test_a_column_of_a_label_that_says_neither_0_nor_1_is_named(tmp_path: Path, value: Any) -> None:
    """Fault D12."""
    source = write_rows(tmp_path, [0, 1], other=[1, 0, value])
    with pytest.raises(DataError, match=r"row 3 \(line 3\): other: .* 0 (nor|or) 1"):
        read_all(SEVERAL, source=source, label=["label", "other"])


def test_a_text_may_have_no_label_and_lists_are_read_from_parquet(tmp_path: Path) -> None:
    """Fault D12."""
    labels = [["b", "a"], [], ["a"], ["c"]]
    table = pa.table({"text": WORDS, "label": [labels[number % 4] for number in range(20)]})
    pq.write_table(table, tmp_path / "rows.parquet")
    read = read_all(SEVERAL, source=str(tmp_path / "rows.parquet"))
    assert sorted(set(read)) == [(), (0,), (0, 1), (2,)]
