"""The summary of a cross-validation of several labels, and of numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from components.artifacts import manifest
from components.artifacts.cross_validation import (
    CONTENT_FILENAME,
    PAGE_FILENAME,
    PREDICTIONS_FILENAME,
    describe_result,
    open_cross_validation,
)
from components.artifacts.predictions import (
    MultiLabelColumns,
    PredictionsWriter,
    RegressionColumns,
)
from components.artifacts.predictions.columns import PredictionColumns
from components.artifacts.report import CONTENT_FILENAME as REPORT_FILENAME
from components.artifacts.report import MultiLabelReport, RegressionReport
from components.config.task import TaskKind
from components.cross_validation import summary_step
from components.errors import DataError
from tests.support.kinds.made_reports import (
    label_sets_and_scores,
    multi_label_report,
    numbers_and_scores,
    regression_report,
)
from tests.support.releases.made_report import CLASSES
from tests.unit.cross_validation.test_summary_step import make_report as make_single_label_report


def make_report(directory: Path, fold: int, kind: TaskKind, **changes: Any) -> Path:
    """A report that differs from fold to fold in its thresholds, or its RMSE."""
    content: MultiLabelReport | RegressionReport
    columns: PredictionColumns
    labels: npt.NDArray[Any]
    if kind == "multi_label":
        content = multi_label_report(text=f"<b>fold {fold}</b>", mistakes=2)
        per_class = {
            name: each.model_copy(update={"threshold": round(0.25 + fold / 10, 2)})
            for name, each in content.per_class.items()
        }
        changes = {"per_class": per_class, "micro_f1": 0.6 + fold / 100, **changes}
        columns = MultiLabelColumns(tuple(each.threshold for each in per_class.values()))
        labels, scores = label_sets_and_scores(seed=fold)
    else:
        content = regression_report(text=f"<b>fold {fold}</b>", mistakes=2)
        changes = {"rmse": 1234.5678 + fold, "mean_error": 0.5 - fold / 10, **changes}
        columns = RegressionColumns()
        labels, scores = numbers_and_scores(seed=fold)
    content = content.model_copy(update={"shards_digest": f"{fold}" * 64, **changes})
    with manifest.staged_artifact(directory) as work:
        (work / REPORT_FILENAME).write_text(content.model_dump_json(), encoding="utf-8")
        with PredictionsWriter(work, columns=columns) as predictions:
            predictions.add(labels, scores, [f"fold {fold} row {n}" for n in range(len(labels))])
        manifest.commit(work, "report", content={})
    return directory


def summarize(tmp_path: Path, kind: TaskKind) -> Any:
    reports = [make_report(tmp_path / f"{fold}", fold, kind) for fold in (1, 2, 3)]
    content = summary_step.run(reports, 3, tmp_path / "summary")
    opened = open_cross_validation(tmp_path / "summary")
    assert opened.content == content
    assert (content.task, content.rows) == (kind, 720)
    assert opened.manifest.format_version == manifest.TASK_FORMAT_VERSION
    return content


def read_predictions(tmp_path: Path) -> Any:
    return pq.read_table(tmp_path / "summary" / PREDICTIONS_FILENAME)


def read_page(tmp_path: Path) -> str:
    return (tmp_path / "summary" / PAGE_FILENAME).read_text(encoding="utf-8")


def test_several_labels_have_the_thresholds_of_each_fold(tmp_path: Path) -> None:
    content = summarize(tmp_path, "multi_label")
    assert content.metrics["micro_f1"].mean == pytest.approx(0.62)
    assert describe_result(content).startswith("micro_f1 0.6200 (95% interval 0.5")
    assert {"macro_f1", "subset_accuracy", "hamming_loss", "loss"} <= content.metrics.keys()
    for result in content.results:
        thresholds = {each.threshold for each in result.per_class.values()}
        assert thresholds == {round(0.25 + result.fold / 10, 2)}
    page = read_page(tmp_path)
    assert "<h1>Micro-F1 0.6200, 95% interval" in page and "Threshold, fold 3" in page
    assert "Subset accuracy" in page and "Always the same labels" in page
    assert "Labels to check" in page and "&lt;b&gt;fold 2&lt;/b&gt;" in page
    assert "<b>fold" not in page


def test_out_of_fold_rows_name_the_label_that_is_contradicted_most(tmp_path: Path) -> None:
    summarize(tmp_path, "multi_label")
    table = read_predictions(tmp_path)
    assert table.column_names == [
        *("fold", "row", "label", "predicted", "wrong", "is_missed", "confidence"),
        *("scores", "text"),
    ]
    rows = table.to_pylist()
    assert len(rows) == 720 and rows[240]["text"] == "fold 2 row 0"
    wrong_rows = 0
    for row in rows:
        scores = dict(zip(CLASSES, row["scores"], strict=True))
        threshold = np.float32(0.25 + row["fold"] / 10)
        assert row["predicted"] == [name for name in CLASSES if scores[name] >= threshold]
        wrong = {
            name: scores[name] if name in row["predicted"] else 1 - scores[name]
            for name in {*row["label"]} ^ {*row["predicted"]}
        }
        if not wrong:
            assert row["wrong"] is row["is_missed"] is row["confidence"] is None
            continue
        wrong_rows += 1
        assert row["confidence"] == pytest.approx(max(wrong.values()))
        assert wrong[row["wrong"]] == max(wrong.values())
        assert row["is_missed"] is (row["wrong"] in row["label"])
    assert 0 < wrong_rows < 720


def test_numbers_are_summarized_in_their_units(tmp_path: Path) -> None:
    content = summarize(tmp_path, "regression")
    assert describe_result(content).startswith("rmse 1,236.57 (95% interval 1,23")
    assert (content.metrics["mean_error"].low or 0) < 0
    stored = json.loads((tmp_path / "summary" / CONTENT_FILENAME).read_text())
    assert stored["task"] == "regression" and "per_class" not in stored["results"][0]
    page = read_page(tmp_path)
    assert "<h1>RMSE 1,236.57, 95% interval" in page and "Numbers to check" in page
    assert "Loss (squared standard deviations)" in page and "Threshold" not in page

    table = read_predictions(tmp_path)
    assert table.column_names == ["fold", "row", "label", "predicted", "error", "text"]
    for row in table.to_pylist():
        assert row["error"] == pytest.approx(row["predicted"] - row["label"])


@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_reports_of_different_kinds_are_refused(tmp_path: Path, kind: TaskKind) -> None:
    """Fault K5."""
    reports = [make_single_label_report(tmp_path / "1", 1), make_report(tmp_path / "2", 2, kind)]
    with pytest.raises(DataError, match=r"2: its task\.kind is not that of"):
        summary_step.run(reports, 2, tmp_path / "summary")
    assert not (tmp_path / "summary").exists()


def test_predictions_of_another_kind_are_named(tmp_path: Path) -> None:
    """Fault K5."""
    reports = [make_report(tmp_path / f"{fold}", fold, "multi_label") for fold in (1, 2)]
    with manifest.staged_artifact(tmp_path / "other") as work:
        for name in (REPORT_FILENAME,):
            (work / name).write_bytes((reports[1] / name).read_bytes())
        labels, scores = numbers_and_scores()
        with PredictionsWriter(work, columns=RegressionColumns()) as predictions:
            predictions.add(labels, scores, None)
        manifest.commit(work, "report", content={})
    with pytest.raises(DataError, match=r"other/predictions\.arrow: cannot be joined"):
        summary_step.run([reports[0], tmp_path / "other"], 2, tmp_path / "summary")
