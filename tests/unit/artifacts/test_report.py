from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from components.artifacts import manifest, predictions
from components.artifacts.predictions import (
    PREDICTIONS_FILENAME,
    Predictions,
    PredictionsWriter,
    iterate_predictions,
    read_first_texts,
    read_scores,
)
from components.artifacts.report import CONTENT_FILENAME, REPORT_KIND, ClassMetrics, open_report
from components.errors import DataError
from tests.support.kinds.made_reports import multi_label_report
from tests.support.releases.made_report import open_single_label, report_content


def commit_report(directory: Path, text: str) -> None:
    with manifest.staged_artifact(directory) as work:
        (work / CONTENT_FILENAME).write_text(text, encoding="utf-8")
        manifest.commit(work, REPORT_KIND, content={})


def write_and_read(
    directory: Path, rows: int, texts: list[str] | None = None, part_rows: int = 100
) -> tuple[np.ndarray, np.ndarray, list[Predictions]]:
    random = np.random.default_rng(rows)
    labels = random.integers(0, 3, rows).astype(np.int32)
    scores = random.dirichlet(np.ones(3), rows).astype(np.float32)
    with PredictionsWriter(directory) as writer:
        for start in range(0, rows, part_rows):
            part = slice(start, start + part_rows)
            writer.add(labels[part], scores[part], None if texts is None else texts[part])
    return labels, scores, list(iterate_predictions(directory))


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    content = report_content()
    commit_report(tmp_path / "report", content.model_dump_json())
    assert open_report(tmp_path / "report").content == content


def test_a_report_made_before_the_majority_class_is_read(tmp_path: Path) -> None:
    content = report_content()
    written = json.loads(content.model_dump_json())
    del written["majority_class"], written["min_macro_f1"]
    commit_report(tmp_path / "report", json.dumps(written))
    found = open_single_label(tmp_path / "report")
    most = max(figures.support for figures in content.per_class.values())
    assert content.per_class[found.majority_class].support == most
    assert found == content


@pytest.mark.parametrize("value", ["null", "[]", '{"calm": 1}'])
def test_a_report_with_neither_majority_class_nor_figures_per_class_is_refused(
    value: str, tmp_path: Path
) -> None:
    written = json.loads(report_content().model_dump_json())
    del written["majority_class"]
    written["per_class"] = json.loads(value)
    commit_report(tmp_path / "report", json.dumps(written))
    with pytest.raises(DataError, match=r"report\.json: (per_class|majority_class)"):
        open_report(tmp_path / "report")


def test_a_report_that_was_changed_is_refused(tmp_path: Path) -> None:
    commit_report(tmp_path / "report", report_content().model_dump_json())
    path = tmp_path / "report" / CONTENT_FILENAME
    path.write_text(path.read_text().replace('"test_rows":240', '"test_rows":241'))
    with pytest.raises(DataError, match=r"report\.json: its SHA-256 is not the manifest's"):
        open_report(tmp_path / "report")


def test_an_unfinished_report_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / CONTENT_FILENAME).write_text(report_content().model_dump_json())
    with pytest.raises(DataError, match="not a finished artifact"):
        open_report(tmp_path)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "null", "1.5", '"high"', "-0.1"])
def test_an_accuracy_that_is_no_share_is_refused_with_its_field(tmp_path: Path, value: str) -> None:
    written = json.loads(report_content().model_dump_json())
    written["accuracy"] = "HERE"
    commit_report(tmp_path / "report", json.dumps(written).replace('"HERE"', value))
    with pytest.raises(DataError, match=r"report\.json: accuracy: "):
        open_report(tmp_path / "report")


def test_a_report_without_content_is_refused(tmp_path: Path) -> None:
    with manifest.staged_artifact(tmp_path / "report") as work:
        (work / "other.txt").write_text("x")
        manifest.commit(work, REPORT_KIND, content={})
    with pytest.raises(DataError, match=r"report\.json: missing"):
        open_report(tmp_path / "report")


def test_no_figure_can_be_nan() -> None:
    with pytest.raises(ValidationError):
        ClassMetrics(precision=float("nan"), recall=None, f1=None, support=3)


def test_scalars_hold_only_what_is_defined() -> None:
    content = report_content()
    assert content.scalar_metrics()["accuracy"] == content.accuracy
    assert set(content.scalar_metrics()) - set(
        content.model_copy(update={"macro_f1": None}).scalar_metrics()
    ) == {"macro_f1"}


@pytest.mark.parametrize("rows", [1, 7, 250], ids=["one", "one part", "three parts"])
def test_predictions_come_back_as_they_were_written(tmp_path: Path, rows: int) -> None:
    texts = [f"text {row} ≠ \U0001f600" for row in range(rows)]
    labels, scores, parts = write_and_read(tmp_path, rows, texts)
    assert sum(map(len, parts)) == rows and len(parts) == -(-rows // 100)
    assert np.array_equal(np.concatenate([part.labels for part in parts]), labels)
    found = np.concatenate([part.scores for part in parts])
    assert found.dtype == np.float32 and np.array_equal(found, scores)
    assert parts[0].predicted.dtype == np.int32
    assert np.array_equal(np.concatenate([part.predicted for part in parts]), scores.argmax(axis=1))
    assert read_first_texts(tmp_path, rows) == texts[:100]


def test_predictions_without_texts_hold_none(tmp_path: Path) -> None:
    write_and_read(tmp_path, 4)
    assert read_first_texts(tmp_path, 4) == []


def test_scores_of_some_rows_are_read_in_their_order(tmp_path: Path) -> None:
    _, scores, _ = write_and_read(tmp_path, 250)
    rows = np.array([249, 0, 120, 121, 99, 100])
    assert np.array_equal(read_scores(tmp_path, rows), scores[rows])
    with pytest.raises(DataError, match="rows are missing"):
        read_scores(tmp_path, np.array([3, 250]))


def test_parts_without_a_wanted_row_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading all rows in pieces would otherwise read each part once per piece."""
    _, scores, _ = write_and_read(tmp_path, 250)
    read_rows, first_rows = predictions._read_rows, []

    def read_and_note(directory: Path, batch: pa.RecordBatch, first_row: int, columns: Any) -> Any:
        first_rows.append(first_row)
        return read_rows(directory, batch, first_row, columns)

    monkeypatch.setattr(predictions, "_read_rows", read_and_note)
    rows = np.arange(110, 190)
    assert np.array_equal(read_scores(tmp_path, rows), scores[rows])
    assert first_rows == [100]


def test_predictions_that_were_cut_are_refused(tmp_path: Path) -> None:
    write_and_read(tmp_path, 50)
    whole = (tmp_path / PREDICTIONS_FILENAME).read_bytes()
    (tmp_path / PREDICTIONS_FILENAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"predictions\.arrow: cannot be read"):
        list(iterate_predictions(tmp_path))


def test_missing_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"predictions\.arrow: cannot be read"):
        list(iterate_predictions(tmp_path))


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    table = pa.table({"row": [0, 1]})
    with pa.ipc.new_file(tmp_path / PREDICTIONS_FILENAME, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="columns are not those"):
        list(iterate_predictions(tmp_path))


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    write_and_read(tmp_path, 6)
    with pa.ipc.open_file(tmp_path / PREDICTIONS_FILENAME) as reader:
        table = reader.read_all()
    with pa.ipc.new_file(tmp_path / PREDICTIONS_FILENAME, table.schema) as writer:
        writer.write_table(table.take(pa.array([1, 0, 2, 3, 4, 5])))
    with pytest.raises(DataError, match="out of order"):
        list(iterate_predictions(tmp_path))


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        pytest.param(("a",), '"a"', id="one"),
        pytest.param(("a", "b", "c"), '"a", "b", "c"', id="all"),
        pytest.param(tuple("abcdefghijklmno"), '"a", "b", "c" and 12 more', id="many"),
    ],
)
def test_few_labels_of_the_baseline_are_named(names: tuple[str, ...], shown: str) -> None:
    content = multi_label_report().model_copy(update={"baseline_labels": names})
    assert content.quote_baseline() == shown
