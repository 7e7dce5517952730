"""The export step on models of several labels and of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.artifacts import manifest
from components.artifacts.gate_decision import GateDecision, write_decision
from components.artifacts.predictions import iterate_predictions
from components.artifacts.release import open_release
from components.artifacts.report import MultiLabelReport, open_report
from components.artifacts.token_shards import open_shards
from components.config.schema import EvaluateConfig, ExportConfig, Precision
from components.config.task import TaskKind
from components.errors import KubertError
from components.evaluate import step as evaluation
from components.export import parity, step
from components.export.served_quality import QualityMeter
from components.serving.predict import predict
from tests.support.training.tiny_checkpoint import CLASSES, make_checkpoint
from tests.support.training.tokenized_texts import TEXTS, make_tokenized

KINDS: tuple[TaskKind, ...] = ("multi_label", "regression")


@pytest.fixture(scope="module")
def kind_roots(tmp_path_factory: pytest.TempPathFactory) -> dict[TaskKind, Path]:
    """Directories with shards, checkpoint, report and an open gate."""
    roots: dict[TaskKind, Path] = {}
    for kind in KINDS:
        root = roots[kind] = tmp_path_factory.mktemp(kind)
        make_tokenized(root / "shards", kind)
        task = open_shards(root / "shards").content.task
        make_checkpoint(root / "checkpoint", task=task)
        evaluation.run(EvaluateConfig(), root / "shards", root / "checkpoint", root / "report")
        digests = {
            f"{name}_digest": manifest.read_manifest(root / name).digest
            for name in ("report", "checkpoint")
        }
        decision = GateDecision(passed=True, reason="Passed.", min_accuracy=0.0, **digests)
        write_decision(root / "decision.json", decision)
    return roots


def export(root: Path, precision: Precision = "float32") -> Path:
    config = ExportConfig(model_store=str(root / "models"), precision=precision)
    inputs = (root / name for name in ("shards", "checkpoint", "report", "decision.json"))
    return Path(step.run(config, *inputs).uri)


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_answers_as_it_was_evaluated(
    kind_roots: dict[TaskKind, Path], kind: TaskKind
) -> None:
    """Fault E4."""
    root = kind_roots[kind]
    release = open_release(export(root))
    content, report = release.content, open_report(root / "report").content
    assert (release.manifest.format_version, content.task) == (2, report.task)
    assert (content.accuracy, content.macro_f1, content.served_metrics) == (None, None, {})
    assert content.metrics.items() >= {content.main_metric.name: content.main_metric.value}.items()
    assert "test_rows" not in content.metrics
    (rows,) = iterate_predictions(root / "report")
    found = list(predict(str(release.directory), TEXTS))
    if isinstance(report, MultiLabelReport):
        assert content.thresholds == report.thresholds
        scores = [[each.scores[name] for name in CLASSES] for each in found]
        np.testing.assert_allclose(scores, rows.scores, atol=1e-5)
        given = [[name in each.labels for name in CLASSES] for each in found]
        assert np.mean(np.array(given) == rows.predicted) > 0.98  # but for ties at a threshold
    else:
        assert (content.classes, content.thresholds) == ((), ())
        values = [each.value for each in found]
        np.testing.assert_allclose(values, rows.scores[:, 0], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_in_bfloat16_has_its_own_metrics(
    kind_roots: dict[TaskKind, Path], kind: TaskKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 24 rows, one label more or less is worth more than a share of 0.003.
    monkeypatch.setattr(parity, "MAX_QUALITY_LOSS", 0.1)
    content = open_release(export(kind_roots[kind], "bfloat16")).content
    assert (content.served_accuracy, content.parity_rows) == (None, len(TEXTS))
    name = QualityMeter(content.task, content.thresholds).metric
    assert content.served_metrics[name] == pytest.approx(content.metrics[name], abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_is_worse_in_bfloat16_is_not_released(
    kind_roots: dict[TaskKind, Path], kind: TaskKind
) -> None:
    """Fault E4."""
    split = open_shards(kind_roots[kind] / "shards").open_split("test")
    labels = split.read_labels()[np.arange(len(split))]
    if kind == "regression":
        right = labels.astype(np.float32)[:, np.newaxis]
        served = right + np.where(np.arange(len(right)) % 2, 0.5, -0.5)[:, np.newaxis]
        message = r"has a R2 of 0\.99\d\d on the test rows, not 1\.0000"
    else:
        right = labels * np.float32(0.02) + np.float32(0.49)
        served = right.copy()
        served[0, 0] = 0.98 - served[0, 0]
        message = r"has a micro-F1 of 0\.9\d\d\d on the test rows, not 1\.0000"
    task = open_shards(kind_roots[kind] / "shards").content.task
    meter = QualityMeter(task, (0.5,) * labels.shape[1] if kind == "multi_label" else ())
    with pytest.raises(KubertError, match=message + "; set export.precision to float32"):
        parity.check_test_rows(
            lambda _: served.astype(np.float32), split, right.__getitem__, "bfloat16", meter
        )


def test_a_number_that_differs_is_not_released(kind_roots: dict[TaskKind, Path]) -> None:
    """Fault E4."""
    root = kind_roots["regression"]
    split = open_shards(root / "shards").open_split("test")
    meter = QualityMeter(open_shards(root / "shards").content.task)
    (rows,) = iterate_predictions(root / "report")
    wrong = rows.scores + np.float32(1e-3)
    with pytest.raises(KubertError, match="the exported model's number differs from the evaluated"):
        parity.check_test_rows(lambda _: wrong, split, rows.scores.__getitem__, meter=meter)
