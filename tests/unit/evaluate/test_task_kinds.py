"""The evaluate step on models of several labels and of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import manifest
from components.artifacts.predictions import iterate_predictions, select_labels
from components.artifacts.report import (
    LabelMistake,
    MultiLabelReport,
    RegressionReport,
    list_metrics,
    open_report,
)
from components.config.schema import EvaluateConfig
from components.config.task import TaskKind
from components.evaluate import step
from tests.support.kinds.inputs import LABELS, make_kind_inputs
from tests.support.training.tiny_checkpoint import CLASSES


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[TaskKind, Path]:
    return {kind: make_kind_inputs(tmp_path_factory.mktemp(kind), kind) for kind in LABELS}


def run(inputs: Path, output: Path, **options: Any) -> Any:
    """Evaluates without explanations, which cost seconds, unless they are asked for."""
    config = EvaluateConfig(**{"batch_size": 4, "explain_errors": 0, **options})
    return step.run(config, inputs / "shards", inputs / "checkpoint", output)


def test_labels_are_given_by_thresholds_of_the_validation_rows(
    inputs: dict[TaskKind, Path], tmp_path: Path
) -> None:
    content = run(inputs["multi_label"], tmp_path / "report")
    assert isinstance(content, MultiLabelReport)
    assert open_report(tmp_path / "report").content == content
    (rows,) = iterate_predictions(tmp_path / "report")
    assert [np.flatnonzero(row).tolist() for row in rows.labels] == LABELS["multi_label"]
    assert np.array_equal(rows.predicted, select_labels(rows.scores, content.thresholds))
    # All splits have the same rows, so that no other threshold has a larger F1 on the test rows.
    for number, name in enumerate(CLASSES):
        has = rows.labels[:, number].astype(bool)
        others = [rows.scores[:, number] >= score for score in rows.scores[:, number]]
        best = max(2 * (has & given).sum() / (has.sum() + given.sum()) for given in others)
        assert content.per_class[name].f1 == pytest.approx(best)
        assert content.per_class[name].validation_rows == has.sum()
    sealed = manifest.read_manifest(tmp_path / "report", "report")
    assert sealed.content["task"] == {"kind": "multi_label"}
    assert sealed.content["micro_f1"] == content.micro_f1
    assert list_metrics(content)["micro_f1"][1:] == (content.micro_f1_low, content.micro_f1_high)


def test_numbers_are_in_the_units_of_the_data(inputs: dict[TaskKind, Path], tmp_path: Path) -> None:
    content = run(inputs["regression"], tmp_path / "report")
    assert isinstance(content, RegressionReport)
    assert open_report(tmp_path / "report").content == content
    (rows,) = iterate_predictions(tmp_path / "report")
    assert rows.labels.tolist() == LABELS["regression"]
    errors = rows.predicted.astype(float) - rows.labels
    assert content.rmse == pytest.approx(float((errors**2).mean() ** 0.5))
    mean, std = content.task.scale
    assert (mean, std) == pytest.approx(
        (np.mean(LABELS["regression"]), np.std(LABELS["regression"]))
    )
    # The test rows are the training rows: their mean has the baseline's error.
    assert content.baseline_rmse == pytest.approx(content.actual.std)
    largest = int(np.abs(errors).argmax())
    assert content.mistakes[0].row == largest


def test_the_first_mistakes_are_explained(inputs: dict[TaskKind, Path], tmp_path: Path) -> None:
    for kind in LABELS:
        content = run(inputs[kind], tmp_path / kind, explain_errors=2)
        page = (tmp_path / kind / "report.html").read_text(encoding="utf-8")
        articles = page.split('<article class="kx"')[1:]
        assert len(articles) == page.count(">Why?</a>") == 2
        for mistake, article in zip(content.mistakes, articles, strict=False):
            assert f"Row {mistake.row}: " in article
            if isinstance(mistake, LabelMistake):
                title = "was missed" if mistake.is_missed else "was given"
                assert f"<bdi>{mistake.wrong}</bdi> {title}</h3>" in article
                assert f"Explained is <strong><bdi>{mistake.wrong}</bdi>" in article
            else:
                assert "Solid blue raises the number" in article
