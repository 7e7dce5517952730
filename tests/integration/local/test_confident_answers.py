"""Models that say how sure they are: evaluation, gate, export, and every way to get an answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from typer.testing import CliRunner

import kubert
from components.artifacts import manifest
from components.artifacts.gate_decision import GateDecision
from components.artifacts.predictions import iterate_predictions
from components.artifacts.release import open_release
from components.artifacts.report import CONTENT_FILENAME, ReportContent, open_report
from components.config.environment import ENV_PROGRESS
from components.config.schema import Calibration, EvaluateConfig, ExportConfig
from components.errors import DataError, KubertError
from components.evaluate import step as evaluation
from components.evaluate.report_page import render_report
from components.export import parity
from components.export import step as export
from components.gate import step as gate
from components.model import serving_model
from components.progress import ProgressFile
from components.serving.model_directory import select_served_version
from components.serving.rest_protocol import build_predict_response
from components.serving.version_manager import load_version
from pipeline.cli.main import app
from tests.support.releases.made_report import open_single_label
from tests.support.training.tiny_checkpoint import make_checkpoint
from tests.support.training.tokenized_texts import TEXTS, make_tokenized

RELEASE_KEY = "ed37c16bc93c8f355a4dd6e31fd260f4"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("judged")
    make_tokenized(directory / "shards")
    make_checkpoint(directory / "checkpoint")
    return directory


def judge(
    root: Path, work: Path, calibrate: Calibration = "none", **options: Any
) -> tuple[ReportContent, GateDecision]:
    """The report and the decision with these options of the section `evaluate`."""
    config = EvaluateConfig(allow_unpredicted_classes=True, **options)
    content = evaluation.run(
        config, root / "shards", root / "checkpoint", work / "report", calibrate=calibrate
    )
    assert isinstance(content, ReportContent)
    target = ExportConfig(model_store=str(work / "models"))
    decision = gate.run(config, target, root / "shards", work / "report", work / "decision.json")
    return content, decision


def release(root: Path, work: Path, calibrate: Calibration = "none") -> Path:
    """The release of what was judged in `work`."""
    inputs = (root / "shards", root / "checkpoint", work / "report", work / "decision.json")
    config = ExportConfig(model_store=str(work / "models"), calibrate=calibrate)
    return Path(export.run(config, *inputs).uri)


@pytest.fixture(scope="module")
def plain(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("plain")
    judge(root, work)
    return release(root, work)


@pytest.fixture(scope="module")
def threshold(root: Path) -> float:
    """A threshold between the confidences of the test rows."""
    work = root / "first"
    evaluation.run(EvaluateConfig(), root / "shards", root / "checkpoint", work)
    (predictions,) = iterate_predictions(work)
    return round(float(np.median(predictions.scores.max(axis=1))), 3)


@pytest.fixture(scope="module")
def abstaining(root: Path, threshold: float, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("abstaining")
    judge(root, work, threshold=threshold)
    return release(root, work)


def test_without_a_threshold_nothing_of_it_is_written(plain: Path, root: Path) -> None:
    content = json.loads((plain / "../../../report" / CONTENT_FILENAME).read_text())
    assert not {"abstention", "minimum", "temperature"} & set(content)
    sealed = manifest.read_manifest(plain / "../../../report")
    assert not {"minimum", "threshold", "champion_margin", "champion_rule"} & set(sealed.config)
    description = manifest.read_manifest(plain).content
    assert "threshold" not in description and "temperature" not in description
    assert "calibrate" not in manifest.read_manifest(plain).config
    assert set(description["gate"]) == {
        "passed", "reason", "min_accuracy", "min_macro_f1", "accuracy", "majority_share",
        "macro_f1", "unpredicted_classes", "champion_version", "champion_accuracy", "test_rows",
        "report_digest", "checkpoint_digest",
    }  # fmt: skip
    signature = tf.saved_model.load(str(plain)).signatures["serving_default"]
    assert set(signature.structured_outputs) == {"label", "label_index", "scores"}


def test_a_release_without_a_threshold_keeps_its_key() -> None:
    assert export.compute_release_key(ExportConfig(), "a" * 64).startswith(RELEASE_KEY)
    key, changed = ExportConfig(), [(0.5, None), (None, 0.5), (0.5, 0.5)]
    keys = {export.compute_release_key(key, "a" * 64, *values) for values in changed}
    assert len(keys) == 3 and not any(each.startswith(RELEASE_KEY) for each in keys)


def test_the_report_says_what_the_threshold_leaves(
    root: Path, threshold: float, tmp_path: Path
) -> None:
    content, decision = judge(root, tmp_path, threshold=threshold)
    found = content.abstention
    assert found is not None and found.test is not None and found.validation is None
    (predictions,) = iterate_predictions(tmp_path / "report")
    confident = predictions.scores.max(axis=1) >= np.float32(threshold)
    right = predictions.predicted == predictions.labels
    assert (found.test.answered, found.test.correct) == (confident.sum(), right[confident].sum())
    assert decision.passed
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Confident answers" in page and f"at least {threshold:.4f}" in page
    assert content.evaluation_notes == (
        f"Threshold {threshold:.4f}: {confident.mean():.4f} of the test rows are answered "
        f"confidently, {right[confident].mean():.4f} of these are right.",
    )
    assert open_report(tmp_path / "report").manifest.config["threshold"] == threshold


def test_a_demanded_precision_chooses_the_threshold_on_the_validation_rows(
    root: Path, tmp_path: Path
) -> None:
    # The splits of these shards have the same rows, so that what is chosen holds for both.
    plain, _ = judge(root, tmp_path / "plain")
    content, decision = judge(root, tmp_path, threshold={"precision": plain.accuracy + 0.01})
    found = content.abstention
    assert found is not None and found.validation is not None and found.test is not None
    assert found.threshold == found.validation.threshold > 0
    assert found.validation == found.test and decision.passed
    assert (found.validation.precision or 0) >= plain.accuracy + 0.01
    assert open_release(release(root, tmp_path)).content.threshold == found.threshold


def test_a_precision_that_all_answers_reach_is_stated(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_PROGRESS, str(tmp_path / "progress"))
    content, _ = judge(root, tmp_path, threshold={"precision": 0.01})
    found = content.abstention
    assert found is not None and found.is_idle and found.test is not None
    (note,) = content.evaluation_notes
    assert note == (
        f"{found.test.correct} of 24 validation rows are right, which reaches the precision "
        "0.0100: the threshold is 0 and every answer is confident; "
        f"{content.accuracy:.4f} of the test rows are right."
    )
    events = ProgressFile(tmp_path / "progress").read_new_events()
    assert note in [event.message for event in events if event.kind == "note"]
    assert note in (tmp_path / "report" / "report.html").read_text()


def test_a_precision_that_no_threshold_reaches_closes_the_gate(root: Path, tmp_path: Path) -> None:
    """Fault T3."""
    content, decision = judge(root, tmp_path, threshold={"precision": 1.0})
    found = content.abstention
    assert found is not None and (found.threshold, found.test) == (None, None)
    assert decision.failed_rules == ("threshold",)
    assert decision.reason.startswith(
        "Closed: no threshold gives the confident answers the precision 1.0000 on the validation "
        "rows; the largest is 0."
    )
    assert "No threshold gives" in (tmp_path / "report" / "report.html").read_text()


def test_every_way_to_get_an_answer_says_whether_it_is_confident(
    abstaining: Path, threshold: float, tmp_path: Path
) -> None:
    loaded = kubert.load_release(abstaining)
    answers = loaded.predict(TEXTS)
    expected = [max(each.scores.values()) >= np.float32(threshold) for each in answers]
    assert [each.is_confident for each in answers] == expected
    assert len(set(expected)) == 2
    served = load_version(select_served_version(abstaining.parent))
    rows = build_predict_response(served.predict([(text.encode(),) for text in TEXTS]), "row")
    assert [row["is_confident"] for row in rows["predictions"]] == expected
    assert set(rows["predictions"][0]) == {"label", "label_index", "scores", "is_confident"}
    assert served.predict([])["is_confident"] == []
    outputs = served.signatures["signature_def"]["serving_default"]["outputs"]
    assert outputs["is_confident"]["dtype"] == "DT_BOOL"
    source = tmp_path / "texts.csv"
    source.write_text("text\n" + "\n".join(TEXTS) + "\n", encoding="utf-8")
    done = loaded.score(str(source), tmp_path / "scored", text=["text"], workers=0)
    table = pq.read_table(Path(done.uri, done.content.file))
    assert table.column_names == ["label", "score", "is_confident"]
    assert table["is_confident"].to_pylist() == expected
    assert loaded.explain(TEXTS[3], layers=[]).label == answers[3].label


def test_the_command_marks_answers_that_are_not_confident(
    abstaining: Path, plain: Path, threshold: float
) -> None:
    lines = CliRunner().invoke(app, ["predict", str(abstaining), *TEXTS]).stdout.splitlines()
    marks = [line.split("\t")[0].endswith("?") for line in lines]
    texts = CliRunner().invoke(app, ["predict", str(abstaining), "--json", *TEXTS]).stdout
    answers = [json.loads(line) for line in texts.splitlines()]
    assert [not answer["is_confident"] for answer in answers] == marks
    before = CliRunner().invoke(app, ["predict", str(plain), "--json", TEXTS[0]]).stdout
    assert set(json.loads(before)) == {"text", "label", "scores"}


def test_another_threshold_is_another_version_of_the_same_checkpoint(
    root: Path, abstaining: Path, threshold: float, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(abstaining.parents[2], work)
    shutil.rmtree(work / "report")
    _, decision = judge(root, work, threshold=threshold)
    assert release(root, work).name == "1"
    shutil.rmtree(work / "report")
    _, decision = judge(root, work, threshold=0.99)
    assert "equals the" in decision.reason and decision.champion_differences == {}
    assert release(root, work).name == "2"


def test_a_served_model_that_is_confident_elsewhere_is_not_released(
    root: Path, threshold: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault E4."""
    judge(root, tmp_path, threshold=threshold)
    monkeypatch.setattr(parity, "are_confident", lambda scores, limit: scores.max(axis=1) >= 0.999)
    with pytest.raises(KubertError, match="is_confident of the exported model is not whether"):
        release(root, tmp_path)
    assert not list((tmp_path / "models" / "news").glob("[0-9]*"))


@pytest.fixture(scope="module")
def calibrated_release(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("calibrated")
    judge(root, work, "temperature")
    return release(root, work, "temperature")


def test_served_scores_are_the_evaluated_ones_at_the_temperature(
    calibrated_release: Path, plain: Path
) -> None:
    content = open_single_label(calibrated_release.parents[2] / "report")
    scaling = content.scaling
    assert scaling is not None and scaling.is_fitted and scaling.temperature != 1
    assert open_release(calibrated_release).content.temperature == scaling.temperature
    before, after = (
        np.array([list(each.scores.values()) for each in kubert.load_release(path).predict(TEXTS)])
        for path in (plain, calibrated_release)
    )
    powers = before ** (1 / scaling.temperature)
    np.testing.assert_allclose(after, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    assert np.abs(after - before).max() > 0.01


def test_calibration_is_measured_before_and_after(calibrated_release: Path, plain: Path) -> None:
    content = open_single_label(calibrated_release.parents[2] / "report")
    scaling, unscaled = content.scaling, open_single_label(plain.parents[2] / "report")
    assert scaling is not None
    # The splits have the same rows: what is best for the validation rows is best for the test rows.
    assert scaling.validation_loss_scaled < scaling.validation_loss
    assert (scaling.loss, scaling.loss_scaled) == pytest.approx(
        (scaling.validation_loss, scaling.validation_loss_scaled)
    )
    assert (scaling.loss, scaling.ece) == (content.loss, content.ece)
    assert content.model_copy(update={"scaling": None}) == unscaled
    assert sum(part.rows for part in scaling.calibration) == content.test_rows
    page = (calibrated_release.parents[2] / "report" / "report.html").read_text()
    assert f"divides its logits by {scaling.temperature:.4f}" in page


def test_a_temperature_that_cannot_be_fitted_is_stated_without_a_second_plot(
    calibrated_release: Path,
) -> None:
    content = open_single_label(calibrated_release.parents[2] / "report")
    assert content.scaling is not None and content.evaluation_notes == ()
    unfitted = content.scaling.model_copy(update={"is_fitted": False, "temperature": 1.0})
    changed = content.model_copy(update={"scaling": unfitted})
    assert changed.evaluation_notes == (
        "All 24 validation rows are right, so that no temperature can be fitted: it is 1, and the "
        "served scores are not calibrated.",
    )
    page, before = render_report(changed), render_report(content)
    assert changed.evaluation_notes[0] in page and changed.evaluation_notes[0] not in before
    assert "the calibration error goes from" in before and "goes from" not in page
    assert 'id="scaled-calibration' in before and 'id="scaled-calibration' not in page


def test_the_threshold_applies_to_calibrated_scores(
    root: Path, calibrated_release: Path, tmp_path: Path
) -> None:
    scores = [
        max(each.scores.values()) for each in kubert.load_release(calibrated_release).predict(TEXTS)
    ]
    threshold = round(float(np.median(scores)), 3)
    content, decision = judge(root, tmp_path, "temperature", threshold=threshold)
    found = content.abstention
    assert found is not None and found.test is not None and decision.passed
    assert found.test.answered == sum(score >= np.float32(threshold) for score in scores)
    made = release(root, tmp_path, "temperature")
    answers = kubert.load_release(made).predict(TEXTS)
    assert [each.is_confident for each in answers] == [
        score >= np.float32(threshold) for score in scores
    ]
    assert kubert.load_release(made).explain(TEXTS[2], layers=[]).label == answers[2].label


def test_calibration_changes_no_comparison_with_the_champion(
    root: Path, calibrated_release: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    make_checkpoint(tmp_path / "other" / "checkpoint", changes={"steps": 3})
    shutil.copytree(root / "shards", tmp_path / "other" / "shards")
    differences = []
    for options in (("none", {}), ("temperature", {"threshold": 0.5})):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(calibrated_release.parents[2], work)
        shutil.rmtree(work / "report")
        _, decision = judge(tmp_path / "other", work, options[0], **options[1])
        assert decision.passed and "equals" in decision.reason
        differences.append(decision.champion_differences)
    assert differences[0] == differences[1] and differences[0]["accuracy"].difference == 0


@pytest.mark.parametrize(
    ("evaluated", "exported"), [("none", "temperature"), ("temperature", "none")], ids=str
)
def test_an_export_that_was_evaluated_otherwise_is_refused(
    evaluated: Calibration, exported: Calibration, root: Path, tmp_path: Path
) -> None:
    """Fault E4."""
    judge(root, tmp_path, evaluated)
    with pytest.raises(DataError, match=f"was not made with export.calibrate={exported}; run"):
        release(root, tmp_path, exported)


def test_a_served_model_of_another_temperature_is_not_released(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault E4."""
    content, _ = judge(root, tmp_path, "temperature")
    assert content.scaling is not None
    monkeypatch.setattr(
        serving_model, "scale_logits", lambda logits, _: tf.cast(logits, tf.float32)
    )
    with pytest.raises(KubertError, match="scores differ from the evaluated ones by"):
        release(root, tmp_path, "temperature")


def test_a_damaged_calibration_closes_the_gate(root: Path, tmp_path: Path) -> None:
    """Fault T4."""
    judge(root, tmp_path, "temperature")
    path = tmp_path / "report" / CONTENT_FILENAME
    figures = json.loads(path.read_text())
    figures["scaling"]["temperature"] = 0
    path.write_text(json.dumps(figures))
    (tmp_path / "report" / "manifest.json").unlink()
    manifest.commit(tmp_path / "report", "report", content={})
    config = EvaluateConfig(allow_unpredicted_classes=True)
    target = ExportConfig(model_store=str(tmp_path / "models"))
    decision = gate.run(
        config, target, root / "shards", tmp_path / "report", tmp_path / "decision.json"
    )
    assert decision.failed_rules == ("report",) and "scaling.temperature" in decision.reason
