"""Models of several labels and of numbers: what does not fit is refused, or closes the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import manifest
from components.artifacts.gate_decision import GateDecision
from components.artifacts.predictions import (
    MultiLabelColumns,
    PredictionsWriter,
    RegressionColumns,
)
from components.artifacts.report import CONTENT_FILENAME, MultiLabelReport, RegressionReport
from components.artifacts.token_shards import open_shards
from components.config.schema import EvaluateConfig, ExportConfig
from components.config.task import TaskKind
from components.errors import ConfigError, DataError
from components.evaluate import step
from components.evaluate.multi_label.label_metrics import LabelAccumulator
from components.evaluate.multi_label.thresholds import ChosenThreshold
from components.evaluate.regression.number_metrics import NumberAccumulator, TrainingNumbers
from components.gate import step as gate
from components.storage.store import open_store
from tests.support.kinds.inputs import LABELS, make_kind_inputs, make_kind_shards
from tests.support.kinds.made_reports import multi_label_report, regression_report
from tests.support.releases.word_rule import publish_rule
from tests.support.training.tiny_checkpoint import CLASSES

HALVES = tuple(ChosenThreshold(0.5, 4) for _ in CLASSES)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[TaskKind, Path]:
    return {kind: make_kind_inputs(tmp_path_factory.mktemp(kind), kind) for kind in LABELS}


def run(inputs: Path, output: Path, **options: Any) -> Any:
    config = EvaluateConfig(batch_size=4, **options)
    return step.run(config, inputs / "shards", inputs / "checkpoint", output)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("multi_label", "validation split: the model's scores are NaN or infinite for 11 of 11"),
        ("regression", "test split: the model's predictions are NaN or infinite for 11 of 11"),
    ],
)
def test_a_model_that_returns_nan_leaves_no_report(
    kind: TaskKind, message: str, tmp_path: Path
) -> None:
    """Fault D5."""
    inputs = make_kind_inputs(tmp_path / "inputs", kind, poison=True)
    with pytest.raises(DataError, match=message):
        run(inputs, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("kind", "minimum", "message"),
    [
        pytest.param(
            "multi_label",
            {"accuracy": 0.5},
            "task.kind=multi_label has no metric accuracy; its metrics are micro_f1, macro_f1, "
            "subset_accuracy, precision[CLASS], recall[CLASS], f1[CLASS]",
            id="a-metric-of-another-kind",
        ),
        pytest.param(
            "regression",
            {"recall[calm]": 0.5},
            "task.kind=regression has no metric recall[calm]; its metrics are r2, spearman, rmse, "
            "mae",
            id="a-class-of-numbers",
        ),
        pytest.param(
            "multi_label",
            {"recall[Calm]": 0.5},
            "the data have no class 'Calm'; the classes are 'calm', 'loud', 'odd'",
            id="an-unknown-class",
        ),
    ],
)
def test_a_limit_that_does_not_fit_the_task_is_refused(
    kind: TaskKind,
    minimum: dict[str, float],
    message: str,
    inputs: dict[TaskKind, Path],
    tmp_path: Path,
) -> None:
    """Fault T2."""
    with pytest.raises(ConfigError) as caught:
        run(inputs[kind], tmp_path / "report", minimum=minimum)
    assert str(caught.value) == f"evaluate.minimum: {message}"
    assert not (tmp_path / "report").exists()


def test_a_checkpoint_of_another_task_is_refused(
    inputs: dict[TaskKind, Path], tmp_path: Path
) -> None:
    """Fault D6."""
    with pytest.raises(ConfigError, match="its task is multi_label, the shards' is regression"):
        step.run(
            EvaluateConfig(),
            inputs["regression"] / "shards",
            inputs["multi_label"] / "checkpoint",
            tmp_path / "report",
        )


def make_label_report(
    directory: Path, shards: Path, given: list[list[int]] | None = None, **changes: Any
) -> Path:
    """A report whose rows are given these labels, or their own; `changes` go in unchecked."""
    own = np.array([[index in row for index in range(3)] for row in LABELS["multi_label"]])
    rows = LABELS["multi_label"] if given is None else given
    predicted = np.array([[index in row for index in range(3)] for row in rows])
    scores = np.where(predicted, 0.9, 0.1).astype(np.float32)
    measured = LabelAccumulator(CLASSES, HALVES, len(own))
    measured.add(own.astype(np.uint8), scores)
    content: MultiLabelReport = multi_label_report().model_copy(
        update={
            **dict(measured.compute()),
            "mistakes": (),
            "shards_digest": open_shards(shards).digest,
        }
    )
    with manifest.staged_artifact(directory) as work:
        _write_content(work, content.model_dump_json(), changes)
        columns = MultiLabelColumns((0.5,) * 3)
        with PredictionsWriter(work, columns=columns) as predictions:
            predictions.add(own.astype(np.uint8), scores, None)
        manifest.commit(work, "report", content={})
    return directory


def make_number_report(
    directory: Path, shards: Path, predicted: list[float] | None = None, **changes: Any
) -> Path:
    """A report with these predictions, or nearly right ones; `changes` go in unchecked."""
    opened = open_shards(shards)
    own = np.array(LABELS["regression"])
    values = own + 0.5 * np.sin(np.arange(len(own))) if predicted is None else predicted
    scores = np.array(values, np.float32)[:, np.newaxis]
    measured = NumberAccumulator(own, TrainingNumbers(*opened.content.task.scale), 20)
    measured.add(own, scores, np.full(len(own), 5, np.int32))
    content: RegressionReport = regression_report().model_copy(
        update={
            **dict(measured.compute()),
            "mistakes": (),
            "task": opened.content.task,
            "shards_digest": opened.digest,
        }
    )
    with manifest.staged_artifact(directory) as work:
        _write_content(work, content.model_dump_json(), changes)
        with PredictionsWriter(work, columns=RegressionColumns()) as predictions:
            predictions.add(own, scores, None)
        manifest.commit(work, "report", content={})
    return directory


def _write_content(work: Path, text: str, changes: dict[str, Any]) -> None:
    (work / CONTENT_FILENAME).write_text(json.dumps({**json.loads(text), **changes}))


def decide(tmp_path: Path, shards: Path, report: Path, **options: Any) -> GateDecision:
    return gate.run(
        EvaluateConfig(**options),
        ExportConfig(model_store=str(tmp_path / "store")),
        shards,
        report,
        tmp_path / "out" / "decision.json",
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[TaskKind, Path]:
    directory = tmp_path_factory.mktemp("kinds")
    for kind in LABELS:
        make_kind_shards(directory / kind, kind)
    return {kind: directory / kind for kind in LABELS}


def test_a_first_candidate_of_each_kind_passes(
    shards: dict[TaskKind, Path], tmp_path: Path
) -> None:
    labels = shards["multi_label"]
    found = decide(tmp_path, labels, make_label_report(tmp_path / "labels", labels))
    assert found.passed and found.task == "multi_label" and found.metrics["micro_f1"] == 1
    assert found.reason == (
        'Passed: micro-F1 1.0000 (11 test rows); always predicting "calm", "loud", "odd" '
        f"reaches {found.metrics['baseline_micro_f1']:.4f}; no version of news is released yet."
    )
    numbers = shards["regression"]
    found = decide(tmp_path, numbers, make_number_report(tmp_path / "numbers", numbers))
    assert found.passed and found.task == "regression" and found.accuracy is None
    assert found.reason.startswith(
        f"Passed: RMSE {found.metrics['rmse']:.6g} (11 test rows); always predicting the training"
    )


@pytest.mark.parametrize(
    ("given", "options", "rules"),
    [
        pytest.param([[0, 1, 2]] * 11, {}, ("baseline",), id="always-the-same-labels"),
        pytest.param(
            [[each for each in row if each != 2] for row in LABELS["multi_label"]],
            {},
            ("unpredicted_classes",),
            id="a-class-is-never-given",
        ),
        pytest.param(
            [[0], [1], [], [0], [2], [0], [1], [], [0], [1], [0]],
            {"minimum": {"subset_accuracy": 0.9, "recall[odd]": 0.9, "micro_f1": 0.5}},
            ("subset_accuracy", "recall[odd]"),
            id="below-minima",
        ),
        pytest.param(
            [[0], [1], [], [0], [2], [0], [1], [], [0], [1], [0]],
            {"min_macro_f1": 0.99},
            ("min_macro_f1",),
            id="macro-f1",
        ),
    ],
)
def test_labels_that_are_not_good_enough_close_the_gate(
    given: list[list[int]],
    options: dict[str, Any],
    rules: tuple[str, ...],
    shards: dict[TaskKind, Path],
    tmp_path: Path,
) -> None:
    """Fault T3."""
    directory = shards["multi_label"]
    report = make_label_report(tmp_path / "report", directory, given)
    found = decide(tmp_path, directory, report, **options)
    assert (found.passed, found.failed_rules) == (False, rules)


@pytest.mark.parametrize(
    ("predicted", "minimum", "rules"),
    [
        pytest.param([2.5] * 11, {}, ("baseline",), id="always-the-mean"),
        pytest.param(None, {"rmse": 0.1, "r2": 0.5}, ("rmse",), id="above-a-maximum"),
        pytest.param(None, {"rmse": 9.0, "r2": 0.999}, ("r2",), id="below-a-minimum"),
        pytest.param([2.5] * 11, {"spearman": 0.1}, ("baseline", "spearman"), id="undefined"),
    ],
)
def test_numbers_that_are_not_good_enough_close_the_gate(
    predicted: list[float] | None,
    minimum: dict[str, float],
    rules: tuple[str, ...],
    shards: dict[TaskKind, Path],
    tmp_path: Path,
) -> None:
    """Fault T3."""
    directory = shards["regression"]
    report = make_number_report(tmp_path / "report", directory, predicted)
    found = decide(tmp_path, directory, report, minimum=minimum)
    assert (found.passed, found.failed_rules) == (False, rules)
    if rules == ("rmse",):
        assert "RMSE 0." in found.reason and "is above its maximum 0.1." in found.reason


@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_a_report_whose_metric_is_not_that_of_its_predictions_closes_the_gate(
    kind: TaskKind, shards: dict[TaskKind, Path], tmp_path: Path
) -> None:
    """Fault T3."""
    directory = shards[kind]
    if kind == "multi_label":
        report = make_label_report(tmp_path / "report", directory, micro_f1=0.9)
    else:
        report = make_number_report(tmp_path / "report", directory, rmse=0.001)
    found = decide(tmp_path, directory, report)
    assert (found.passed, found.failed_rules) == (False, ("report",))
    assert "is not that of its predictions" in found.reason


def test_a_champion_of_another_task_closes_the_gate(
    shards: dict[TaskKind, Path], tmp_path: Path
) -> None:
    """Fault T5."""
    publish_rule(open_store(str(tmp_path / "store")), tmp_path / "a", "a", {})
    directory = shards["multi_label"]
    found = decide(tmp_path, directory, make_label_report(tmp_path / "report", directory))
    assert (found.passed, found.failed_rules) == (False, ("champion",))
    assert (
        "Its task is single_label, the candidate's multi_label; release the candidate under "
        "another export.model_name."
    ) in found.reason
