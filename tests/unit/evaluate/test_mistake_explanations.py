"""Which errors a report explains, within what cost, and with which model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.errors import KubertError
from components.evaluate import mistake_explanations as module
from components.evaluate.mistake_explanations import (
    Extent,
    choose_extent,
    count_operations,
    describe_extent,
    explain_errors,
)
from components.explain.explainer import MAX_OCCLUDED_WORDS
from components.model.restore import load_classifier
from tests.support.training.tiny_checkpoint import CLASSES, VOCABULARY, make_checkpoint

TEXTS = ("w1 w2 w3 unknown", "w4 w5")
LENGTHS = (6, 4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Artifact[CheckpointContent]:
    directory = tmp_path_factory.mktemp("checkpoint") / "checkpoint"
    make_checkpoint(directory)
    return open_checkpoint(directory)


@pytest.mark.parametrize(
    ("costs", "limit", "expected"),
    [
        pytest.param([4, 4], 8, Extent(2, 32), id="all"),
        pytest.param([4, 4], 7, Extent(2, 16), id="fewer-steps"),
        pytest.param([4, 4, 4], 5, Extent(2, 16), id="fewer-errors"),
        pytest.param([4, 4], 1, Extent(0, 16), id="none"),
        pytest.param([], 1, Extent(0, 32), id="no-errors"),
    ],
)
def test_the_cost_is_bounded(costs: list[float], limit: float, expected: Extent) -> None:
    assert choose_extent(costs, [cost / 2 for cost in costs], limit) == expected


@pytest.mark.parametrize(
    ("extent", "sentence"),
    [
        pytest.param(Extent(3, 32), None, id="all"),
        pytest.param(Extent(3, 16), "Explained in 16 steps instead of 32: ", id="fewer-steps"),
        pytest.param(Extent(1, 16), "Only the first 1 of 3 are explained, in 16 ", id="fewer"),
        pytest.param(Extent(0, 16), "The mistakes are not explained: by the size", id="none"),
    ],
)
def test_the_page_names_what_is_not_explained(extent: Extent, sentence: str | None) -> None:
    found = describe_extent(extent, 3)
    assert (found is None) == (sentence is None)
    assert found is None or found.startswith(sentence or "")


def test_operations_grow_with_tokens_and_steps_and_less_for_long_texts(
    checkpoint: Artifact[CheckpointContent],
) -> None:
    def count(words: int, steps: int = 32) -> float:
        return count_operations(checkpoint, "w1 " * words, words + 2, steps)

    assert count(20) / 22 > count(10) / 12  # more words are occluded
    assert 1.5 < count(20) / count(20, 8) < 4
    long = MAX_OCCLUDED_WORDS + 1
    assert count(long) / (long + 2) < count(long - 1) / (long + 1)


def test_a_sealed_encoder_costs_its_occlusions_only(
    checkpoint: Artifact[CheckpointContent],
) -> None:
    sealed = checkpoint.content.model.model_copy(update={"encoder": "hub:somewhere"})
    hub = Artifact(
        checkpoint.directory,
        checkpoint.manifest,
        checkpoint.content.model_copy(update={"model": sealed}),
    )
    per_token = count_operations(hub, "w1", 3, 32) / 3 / 2
    assert count_operations(hub, "w1 " * 100, 102, 32) == pytest.approx(per_token * 102 * 101)
    assert count_operations(hub, "w1", 3, 16) == count_operations(hub, "w1", 3, 32)


def test_errors_are_explained_with_the_checkpoints_own_scores(
    checkpoint: Artifact[CheckpointContent], capfd: pytest.CaptureFixture[str]
) -> None:
    found = explain_errors(checkpoint, TEXTS, LENGTHS)
    assert found.note is None
    assert [each.text for each in found.explanations] == list(TEXTS)
    classifier, _, _ = load_classifier(checkpoint)
    ids = [2, *(VOCABULARY.tokens.index(word) for word in ("w1", "w2", "w3")), 1, 3]
    logits = classifier({"input_word_ids": np.array([ids], np.int32)}).numpy()[0].astype(float)
    scores = np.exp(logits) / np.exp(logits).sum()
    assert list(found.explanations[0].scores.values()) == pytest.approx(scores, abs=1e-5)
    assert found.explanations[0].label == CLASSES[int(scores.argmax())]
    assert abs(found.explanations[0].gap or 1) < 1e-2
    stated = capfd.readouterr().out
    assert "explaining 2 texts: 68 forward and backward passes and 8 forward passes" in stated
    assert "w1" not in stated


def test_a_model_that_is_too_large_is_not_loaded(
    checkpoint: Artifact[CheckpointContent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CORE_SECONDS", 0)
    monkeypatch.delattr("components.model.restore.load_classifier")
    found = explain_errors(checkpoint, TEXTS, LENGTHS)
    assert found.explanations == ()
    assert (found.note or "").startswith("The mistakes are not explained")


def test_an_explanation_that_fails_fails_no_evaluation(
    checkpoint: Artifact[CheckpointContent], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_given: object) -> None:
        raise KubertError("its graph is unknown")

    monkeypatch.setattr("components.explain.loading.explain_classifier", fail)
    found = explain_errors(checkpoint, TEXTS, LENGTHS)
    assert found.explanations == ()
    assert found.note == "The mistakes cannot be explained: its graph is unknown."
