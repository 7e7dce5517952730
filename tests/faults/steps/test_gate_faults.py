"""Whatever leaves a doubt about the candidate closes the gate, with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import manifest
from components.artifacts.predictions import PredictionsWriter
from components.artifacts.report import CONTENT_FILENAME
from components.errors import ConfigError, DataError, MissingArtifactError
from tests.support.releases.gate_inputs import LABELS, TEXTS, decide, make_report
from tests.support.training.tiny_checkpoint import CLASSES, make_shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gate") / "shards"
    make_shards(directory, LABELS, texts=TEXTS)
    return directory


def test_the_first_candidate_needs_only_the_minimum(shards: Path, tmp_path: Path) -> None:
    found = decide(tmp_path, shards, make_report(tmp_path / "report", shards, wrong=2))
    assert found.passed
    assert (found.accuracy, found.champion_version, found.test_rows) == (0.8, None, 10)
    assert found.reason == (
        "Passed: accuracy 0.8000 (8 of 10 test rows) reaches min_accuracy 0.5000; "
        'always predicting "calm" reaches 0.4000; '
        "no version of news is released yet."
    )


@pytest.mark.parametrize(
    ("minimum", "passed"), [(0.8, True), (0.81, False)], ids=["equal", "below"]
)
def test_an_accuracy_below_the_minimum_closes_the_gate(
    minimum: float, passed: bool, shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    found = decide(
        tmp_path, shards, make_report(tmp_path / "report", shards, wrong=2), minimum=minimum
    )
    assert found.passed is passed
    if not passed:
        assert (
            found.reason
            == "Closed: accuracy 0.8000 (8 of 10 test rows) is below min_accuracy 0.8100."
        )


@pytest.mark.parametrize(
    ("predicted", "options", "passed"),
    [
        pytest.param([0] * 10, {}, False, id="always-the-majority"),
        pytest.param([0] * 10, {"allow_unpredicted_classes": True}, False, id="allowed-but-equal"),
        pytest.param([0, 1, 0, 0, 1, 0, 0, 1, 0, 0], {}, False, id="a-class-is-never-predicted"),
        pytest.param(
            [0, 1, 0, 0, 1, 0, 0, 1, 0, 0],
            {"allow_unpredicted_classes": True},
            True,
            id="an-unpredicted-class-is-allowed",
        ),
        pytest.param([0, 1, 2, 0, 1, 2, 0, 0, 0, 0], {}, True, id="every-class-is-predicted"),
    ],
)
def test_a_model_that_ignores_a_class_closes_the_gate(
    predicted: list[int], options: dict[str, Any], passed: bool, shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    report = make_report(tmp_path / "report", shards, 0, predicted=predicted)
    found = decide(tmp_path, shards, report, minimum=0.0, **options)
    assert found.passed is passed
    assert found.majority_share == 0.4
    unpredicted = tuple(name for index, name in enumerate(CLASSES) if index not in predicted)
    assert found.unpredicted_classes == unpredicted
    assert ("never predicted" in found.reason.lower()) == (bool(unpredicted) and not options)
    assert ('not above the 0.4000 that always predicting "calm"' in found.reason) == (
        predicted == [0] * 10
    )


def test_an_accurate_model_of_imbalanced_rows_that_only_knows_the_majority_closes_the_gate(
    tmp_path: Path,
) -> None:
    """Fault T3."""
    labels = [0] * 8 + [1, 2]
    make_shards(tmp_path / "shards", labels, texts=TEXTS)
    report = make_report(tmp_path / "report", tmp_path / "shards", 0, labels, predicted=[0] * 10)
    found = decide(tmp_path, tmp_path / "shards", report, min_macro_f1=0.5)
    assert found.reason == (
        'Closed: macro-F1 0.2963 is not above the 0.2963 that always predicting "calm" reaches; '
        "add rows of the other classes, or train longer. "
        "Macro-F1 0.2963 is below min_macro_f1 0.5000. Never predicted although the test rows "
        'have it: "loud" (1 test row), "odd" (1 test row); add rows of each such class, or train '
        "longer; evaluate.allow_unpredicted_classes=true allows it."
    )
    assert found.accuracy == 0.8
    assert found.macro_f1 == pytest.approx(0.2963, abs=1e-4)
    by_accuracy = decide(tmp_path, tmp_path / "shards", report).reason
    assert by_accuracy.startswith(
        "Closed: accuracy 0.8000 (8 of 10 test rows) is not above the 0.8000 that always "
        'predicting "calm" reaches; '
    )


@pytest.mark.parametrize("macro_f1", [0.4, None], ids=["below", "undefined"])
def test_a_macro_f1_that_does_not_reach_its_minimum_closes_the_gate(
    macro_f1: float | None, shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    report = make_report(tmp_path / "report", shards, wrong=2, macro_f1=macro_f1)
    assert decide(tmp_path, shards, report).passed
    found = decide(tmp_path, shards, report, min_macro_f1=0.5)
    assert not found.passed and found.champion_version is None
    assert "min_macro_f1 0.5000" in found.reason


@pytest.mark.parametrize(
    ("minimum", "rules"),
    [
        pytest.param({"recall[calm]": 0.5, "precision[calm]": 2 / 3}, (), id="reached"),
        pytest.param({"recall[calm]": 0.51}, ("recall[calm]",), id="below"),
        pytest.param(
            {"recall[calm]": 0.6, "f1[odd]": 0.1, "macro_f1": 0.99, "accuracy": 0.81},
            ("recall[calm]", "macro_f1", "accuracy"),
            id="several",
        ),
    ],
)
def test_a_metric_below_its_minimum_closes_the_gate_and_is_named(
    minimum: dict[str, float], rules: tuple[str, ...], shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    predicted = [0, 1, 2, 0, 1, 2, 1, 1, 2, 1]
    report = make_report(tmp_path / "report", shards, 0, predicted=predicted)
    found = decide(tmp_path, shards, report, minimum=0.0, evaluate={"minimum": minimum})
    assert (found.passed, found.failed_rules) == (not rules, rules)
    assert found.minimum == minimum
    if rules:
        assert found.reason.startswith('Closed: the recall of "calm" 0.5000 is below its minimum')
    else:
        assert "evaluate.minimum is reached (recall[calm], precision[calm])" in found.reason


def test_a_minimum_for_a_class_that_the_data_lack_is_an_error_and_no_decision(
    shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    report = make_report(tmp_path / "report", shards, wrong=0)
    with pytest.raises(ConfigError) as caught:
        decide(tmp_path, shards, report, evaluate={"minimum": {"recall[Calm]": 0.5}})
    assert str(caught.value) == (
        "evaluate.minimum: the data have no class 'Calm'; the classes are 'calm', 'loud', 'odd'"
    )
    assert not (tmp_path / "out").exists()


def test_predictions_of_a_class_that_does_not_exist_close_the_gate(
    shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    classes = CLASSES[:2]
    report = make_report(tmp_path / "report", shards, wrong=0, classes=classes)
    found = decide(tmp_path, shards, report)
    assert not found.passed and "but there are 2 classes" in found.reason


def test_a_report_made_before_the_majority_class_is_decided_alike(
    shards: Path, tmp_path: Path
) -> None:
    report = make_report(tmp_path / "report", shards, wrong=2)
    figures = json.loads((report / CONTENT_FILENAME).read_text())
    del figures["majority_class"], figures["min_macro_f1"]
    (report / "manifest.json").unlink()
    (report / CONTENT_FILENAME).write_text(json.dumps(figures))
    manifest.commit(report, "report", content={})
    found = decide(tmp_path, shards, report)
    assert found.passed and found.majority_share == 0.4


@pytest.mark.parametrize("value", ["NaN", "Infinity", "null", "missing"])
@pytest.mark.parametrize("field", ["accuracy", "loss"])
def test_a_metric_that_is_missing_or_not_finite_closes_the_gate(
    field: str, value: str, shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    report = make_report(tmp_path / "report", shards, wrong=0)
    figures = json.loads((report / CONTENT_FILENAME).read_text())
    del figures[field]
    text = json.dumps(figures)
    if value != "missing":
        text = text[:-1] + f', "{field}": {value}}}'
    (report / "manifest.json").unlink()
    (report / CONTENT_FILENAME).write_text(text)
    manifest.commit(report, "report", content={})
    found = decide(tmp_path, shards, report)
    assert not found.passed
    assert field in found.reason
    assert found.reason.startswith("Closed: the report cannot be used.")


@pytest.mark.parametrize("part", ["", "manifest.json"], ids=["directory", "manifest"])
def test_a_report_that_is_gone_says_nothing_about_the_candidate(
    part: str, shards: Path, tmp_path: Path
) -> None:
    """Fault T4."""
    report = make_report(tmp_path / "report", shards, wrong=0)
    if part:
        (report / part).unlink()
    else:
        shutil.rmtree(report)
    with pytest.raises(MissingArtifactError, match=r"no manifest\.json"):
        decide(tmp_path, shards, report)


def test_scores_that_are_not_finite_close_the_gate(shards: Path, tmp_path: Path) -> None:
    """Fault T3."""
    report = make_report(tmp_path / "report", shards, wrong=0)
    (report / "manifest.json").unlink()
    with PredictionsWriter(report) as predictions:
        predictions.add(np.asarray(LABELS, np.int32), np.full((10, 3), np.nan, np.float32), None)
    manifest.commit(report, "report", content={})
    assert "not finite" in decide(tmp_path, shards, report).reason


def test_an_accuracy_that_is_not_that_of_the_predictions_closes_the_gate(
    shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    found = decide(
        tmp_path, shards, make_report(tmp_path / "report", shards, wrong=5, accuracy=0.9)
    )
    assert not found.passed
    assert "is not that of its predictions (5 of 10)" in found.reason


def test_a_damaged_report_closes_the_gate(shards: Path, tmp_path: Path) -> None:
    """Fault T4."""
    report = make_report(tmp_path / "report", shards, wrong=0)
    content = report / CONTENT_FILENAME
    content.write_text(content.read_text()[:-50])
    found = decide(tmp_path, shards, report)
    assert not found.passed
    assert (found.report_digest, found.accuracy) == ("", None)


def test_test_rows_of_one_class_close_the_gate(tmp_path: Path) -> None:
    """Fault D5."""
    make_shards(tmp_path / "shards", [1] * 10, texts=TEXTS)
    found = decide(
        tmp_path,
        tmp_path / "shards",
        make_report(tmp_path / "report", tmp_path / "shards", 0, [1] * 10),
    )
    assert not found.passed
    assert "all test rows are of one class" in found.reason


def test_a_report_on_other_data_is_an_error_and_no_decision(shards: Path, tmp_path: Path) -> None:
    make_shards(tmp_path / "other", LABELS[:9], texts=TEXTS[:9])
    with pytest.raises(DataError, match="is about other data"):
        decide(tmp_path, tmp_path / "other", make_report(tmp_path / "report", shards, wrong=0))
    assert not (tmp_path / "out").exists()


def test_a_store_that_cannot_be_reached_is_an_error_and_no_decision(
    shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="unknown scheme"):
        decide(tmp_path, shards, make_report(tmp_path / "report", shards, wrong=0), "ftp://host/x")
