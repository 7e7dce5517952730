from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.artifacts import manifest
from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.predictions import iterate_predictions, read_first_texts
from components.artifacts.release import ReleaseLineage
from components.artifacts.report import ReportContent, open_report
from components.artifacts.token_shards import open_shards
from components.config.schema import EvaluateConfig
from components.errors import ConfigError, DataError
from components.evaluate import step
from components.evaluate.inputs import average_step_losses, summarize_training
from components.model.restore import load_classifier
from tests.support.token_rows import list_token_ids
from tests.support.training.tiny_checkpoint import CLASSES, EPOCHS, make_checkpoint, make_shards

LABELS = [0, 1, 2, 2, 1, 0, 0, 1, 2, 1, 1, 0, 2]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    make_shards(directory / "shards", LABELS)
    make_checkpoint(directory / "checkpoint")
    return directory


def evaluate(inputs: Path, output: Path, config: EvaluateConfig | None = None) -> ReportContent:
    content = step.run(
        config or EvaluateConfig(batch_size=4, explain_errors=0),
        inputs / "shards",
        inputs / "checkpoint",
        output,
    )
    assert isinstance(content, ReportContent)
    return content


def test_the_report_holds_what_the_model_says_of_the_test_rows(
    inputs: Path, tmp_path: Path
) -> None:
    content = evaluate(inputs, tmp_path / "report")
    assert open_report(tmp_path / "report").content == content
    (predictions,) = iterate_predictions(tmp_path / "report")
    split = open_shards(inputs / "shards").open_split("test")
    model, trained, _ = load_classifier(open_checkpoint(inputs / "checkpoint"))
    for row, ids in enumerate(list_token_ids(split)):
        logits = model({"input_word_ids": ids[None]}).numpy()[0].astype(float)
        powers = np.exp(logits - logits.max())
        np.testing.assert_allclose(predictions.scores[row], powers / powers.sum(), atol=1e-5)
    assert predictions.labels.tolist() == LABELS
    texts = read_first_texts(tmp_path / "report", len(LABELS))
    assert texts == [f"text {row} of {CLASSES[label]}" for row, label in enumerate(LABELS)]
    assert content.accuracy == float(np.mean(predictions.labels == predictions.predicted))
    assert (
        sorted(mistake.row for mistake in content.mistakes)
        == np.flatnonzero(predictions.labels != predictions.predicted).tolist()
    )
    assert (
        all(mistake.text == texts[mistake.row] for mistake in content.mistakes) and content.mistakes
    )
    assert content.training.history == EPOCHS == trained.history
    assert content.training.step_losses == ((1, 1.2), (2, 1.0), (3, 0.9), (4, 0.7))
    assert content.training.options["Epochs, at most"] == "2"
    assert content.training.options["Learning rate schedule"] == "linear"
    assert content.data.rows == {"train": 13, "validation": 13, "test": 13}
    assert sum(content.data.length_histogram.values()) == 39


def test_float32_scores_are_not_computed_in_tf32(inputs: Path, tmp_path: Path) -> None:
    tf.config.experimental.enable_tensor_float_32_execution(True)
    evaluate(inputs, tmp_path / "report")
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_the_report_names_its_inputs(inputs: Path, tmp_path: Path) -> None:
    content = evaluate(inputs, tmp_path / "report")
    digests = {
        name: manifest.read_manifest(inputs / name).digest for name in ("shards", "checkpoint")
    }
    sealed = manifest.read_manifest(tmp_path / "report", "report")
    assert (
        sealed.inputs
        == digests
        == {"shards": content.shards_digest, "checkpoint": content.checkpoint_digest}
    )
    assert sealed.content["accuracy"] == content.accuracy and sealed.config["batch_size"] == 4
    assert sealed.config["mistakes"] == 20
    assert set(sealed.files) == {"report.json", "report.html", "predictions.arrow"}


def test_equal_inputs_give_an_equal_report(inputs: Path, tmp_path: Path) -> None:
    evaluate(inputs, tmp_path / "one", EvaluateConfig(batch_size=4))
    evaluate(inputs, tmp_path / "two", EvaluateConfig(batch_size=4))
    assert (
        manifest.read_manifest(tmp_path / "one").digest
        == manifest.read_manifest(tmp_path / "two").digest
    )


def test_errors_are_explained_as_many_as_asked_for(inputs: Path, tmp_path: Path) -> None:
    for number in (0, 2, 50):
        output = tmp_path / str(number)
        content = evaluate(inputs, output, EvaluateConfig(explain_errors=number))
        page = (output / "report.html").read_text(encoding="utf-8")
        explained = min(number, len(content.mistakes))
        assert page.count('<article class="kx"') == page.count(">Why?</a>") == explained
        sealed = manifest.read_manifest(output)
        assert sealed.config.get("explain_errors") == number
    assert len(content.mistakes) > 2


def test_a_report_without_texts_explains_none(inputs: Path, tmp_path: Path) -> None:
    evaluate(inputs, tmp_path / "report", EvaluateConfig(max_reported_errors=0))
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "<article" not in page and "Why" not in page


@pytest.mark.slow
def test_the_report_is_the_same_if_workers_score_the_rows(inputs: Path, tmp_path: Path) -> None:
    evaluate(inputs, tmp_path / "here", EvaluateConfig())
    evaluate(inputs, tmp_path / "workers", EvaluateConfig(workers=1))
    assert (
        manifest.read_manifest(tmp_path / "here").digest
        == manifest.read_manifest(tmp_path / "workers").digest
    )


def test_the_command_does_the_same(inputs: Path, tmp_path: Path) -> None:
    evaluate(inputs, tmp_path / "here", EvaluateConfig(max_reported_errors=1))
    arguments = [f"--{name}={inputs / name}" for name in ("shards", "checkpoint")]
    command = [
        sys.executable,
        "-m",
        "components.evaluate",
        *arguments,
        "--set",
        "evaluate.max_reported_errors=1",
        "--output",
        str(tmp_path / "there"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (
        manifest.read_manifest(tmp_path / "here").digest
        == manifest.read_manifest(tmp_path / "there").digest
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["step"] for event in events} == {"evaluate"}
    assert events[-1]["done"] == events[-1]["total"] == len(LABELS) and "accuracy" in events[-1]


def test_an_empty_test_split_is_refused(inputs: Path, tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", [])
    with pytest.raises(DataError, match="the test split has no rows"):
        step.run(EvaluateConfig(), tmp_path / "shards", inputs / "checkpoint", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_history_that_is_not_finite_is_refused(inputs: Path, tmp_path: Path) -> None:
    broken = EPOCHS[0].model_copy(update={"validation_loss": 1e999})
    trained = open_checkpoint(inputs / "checkpoint").content.model_copy(
        update={"history": (broken,)}
    )
    with pytest.raises(DataError, match="epoch 1 of its history has validation_loss inf"):
        summarize_training(trained, {}, inputs / "checkpoint")


def test_the_report_says_from_which_release_the_training_started(inputs: Path) -> None:
    release = ReleaseLineage(name="news", version=3, digest="0" * 64)
    trained = open_checkpoint(inputs / "checkpoint").content
    started = trained.model_copy(update={"start_from": release})
    options = [
        summarize_training(each, {}, inputs / "checkpoint").options for each in (started, trained)
    ]
    assert options[0] == {"Started from": "news version 3", **options[1]}
    assert "Started from" not in options[1]


def test_shards_of_other_lengths_are_refused(inputs: Path, tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", LABELS, max_length=16)
    with pytest.raises(ConfigError, match="its max_length is 20, the shards' is 16"):
        step.run(EvaluateConfig(), tmp_path / "shards", inputs / "checkpoint", tmp_path / "report")


@pytest.mark.parametrize(
    ("losses", "points", "expected"),
    [
        pytest.param((), 5, (), id="none"),
        pytest.param((3.0, 1.0), 5, ((1, 3.0), (2, 1.0)), id="fewer than points"),
        pytest.param((4.0, 2.0, 3.0, 1.0, 5.0), 3, ((2, 3.0), (4, 2.0), (5, 5.0)), id="runs"),
        pytest.param(
            (float("nan"), 2.0, float("inf"), float("inf")), 2, ((2, 2.0),), id="skipped steps"
        ),
    ],
)
def test_step_losses_are_thinned_to_means(
    losses: tuple[float, ...], points: int, expected: tuple[tuple[int, float], ...]
) -> None:
    assert average_step_losses(losses, points) == expected
