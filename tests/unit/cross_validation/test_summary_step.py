"""The summary of a cross-validation: figures, out-of-fold predictions and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.artifacts import manifest
from components.artifacts.cross_validation import (
    PAGE_FILENAME,
    PREDICTIONS_FILENAME,
    describe_result,
    open_cross_validation,
)
from components.artifacts.predictions import PredictionsWriter
from components.artifacts.report import CONTENT_FILENAME
from components.cross_validation import summary_step
from components.errors import DataError
from tests.support.releases.made_report import CLASSES, labels_and_scores, report_content


def make_report(directory: Path, fold: int, *, with_texts: bool = True, **changes: Any) -> Path:
    labels, scores = labels_and_scores(seed=fold)
    content = report_content(text=f"<b>fold {fold}</b>", mistakes=2 if with_texts else 0)
    content = content.model_copy(
        update={"shards_digest": f"{fold}" * 64, "accuracy": 0.8 + fold / 100, **changes}
    )
    with manifest.staged_artifact(directory) as work:
        (work / CONTENT_FILENAME).write_text(content.model_dump_json(), encoding="utf-8")
        with PredictionsWriter(work) as predictions:
            texts = [f"fold {fold} row {row}" for row in range(len(labels))]
            predictions.add(labels, scores, texts if with_texts else None)
        manifest.commit(work, "report", content={})
    return directory


def test_a_summary_has_every_fold_and_every_row_once(tmp_path: Path) -> None:
    reports = [make_report(tmp_path / f"{fold}", fold) for fold in (1, 2, 3)]
    content = summary_step.run(reports, 3, tmp_path / "summary")
    assert open_cross_validation(tmp_path / "summary").content == content
    assert (content.folds, content.rows) == (3, 720)
    assert content.metrics["accuracy"].mean == pytest.approx(0.82)
    values = [each.metrics["accuracy"] for each in content.results]
    assert values == pytest.approx([0.81, 0.82, 0.83])
    assert {"loss", "ece", "macro_f1"} <= content.metrics.keys()
    assert describe_result(content).startswith("accuracy 0.8200 (95% interval 0.7")

    table = pq.read_table(tmp_path / "summary" / PREDICTIONS_FILENAME)
    assert table.column_names == [
        *("fold", "row", "label", "label_score", "predicted", "confidence", "scores", "text"),
    ]
    rows = table.to_pylist()
    assert [row["text"] for row in rows[238:242]] == [
        "fold 1 row 238",
        "fold 1 row 239",
        "fold 2 row 0",
        "fold 2 row 1",
    ]
    for row in rows:
        assert (
            row["confidence"]
            == max(row["scores"])
            == row["scores"][CLASSES.index(row["predicted"])]
        )
        assert row["label_score"] == row["scores"][CLASSES.index(row["label"])]

    page = (tmp_path / "summary" / PAGE_FILENAME).read_text(encoding="utf-8")
    assert "&lt;b&gt;fold 2&lt;/b&gt;" in page and "<b>fold" not in page
    assert page.count("fold 1</bdi>") + page.count("/b&gt;</bdi>") == 2
    assert "0.8200" in page and "Nadeau and Bengio" in page


def test_equal_reports_give_an_equal_summary(tmp_path: Path) -> None:
    reports = [make_report(tmp_path / f"{fold}", fold) for fold in (1, 2)]
    for name in ("a", "b"):
        summary_step.run(reports, 2, tmp_path / name)
    first, second = (open_cross_validation(tmp_path / name).manifest for name in ("a", "b"))
    assert first == second


def test_a_summary_of_reports_without_texts_has_none(tmp_path: Path) -> None:
    reports = [make_report(tmp_path / f"{fold}", fold, with_texts=False) for fold in (1, 2)]
    summary_step.run(reports, 2, tmp_path / "summary")
    table = pq.read_table(tmp_path / "summary" / PREDICTIONS_FILENAME)
    assert table["text"].null_count == 480
    assert "Labels to check" not in (tmp_path / "summary" / PAGE_FILENAME).read_text()


@pytest.mark.parametrize(
    ("changes", "folds", "message"),
    [
        pytest.param({}, 3, "2 reports of 3 folds", id="missing"),
        pytest.param({"source_sha256": "f" * 64}, 2, "its source_sha256 is not that", id="other"),
        pytest.param({"shards_digest": "1" * 64}, 2, "hold out the same rows", id="same-fold"),
    ],
)
def test_reports_that_are_not_of_one_cross_validation_are_refused(
    tmp_path: Path, changes: dict[str, Any], folds: int, message: str
) -> None:
    """Fault K5."""
    reports = [make_report(tmp_path / "1", 1), make_report(tmp_path / "2", 2, **changes)]
    with pytest.raises(DataError, match=message):
        summary_step.run(reports, folds, tmp_path / "summary")
    assert not (tmp_path / "summary").exists()


def test_a_damaged_report_is_named(tmp_path: Path) -> None:
    """Fault K5."""
    reports = [make_report(tmp_path / f"{fold}", fold) for fold in (1, 2)]
    with (reports[1] / "predictions.arrow").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(DataError, match=r"2/predictions\.arrow"):
        summary_step.run(reports, 2, tmp_path / "summary")
