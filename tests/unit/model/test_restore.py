"""A training that begins with a release: encoder and head are those of its checkpoint, by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.task import TaskInfo
from components.errors import ConfigError
from components.model.classifier import build_classifier
from components.model.heads import compute_scores
from components.model.restore import load_classifier, load_initial_weights
from tests.support.training.tiny_checkpoint import CLASSES, MODEL, VOCABULARY, make_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Artifact[CheckpointContent]:
    directory = tmp_path_factory.mktemp("restore") / "checkpoint"
    make_checkpoint(directory)
    return open_checkpoint(directory)


def test_the_encoder_and_the_rows_of_known_classes_are_taken_by_name(
    checkpoint: Artifact[CheckpointContent],
) -> None:
    classes = ("odd", "new", "calm")  # `loud` is gone
    trained, _, _ = load_classifier(checkpoint)
    fresh = build_classifier(MODEL, VOCABULARY, len(classes), seed=8)
    fresh_head = fresh.logits.get_weights()
    load_initial_weights(fresh, MODEL, classes, checkpoint)
    for old, new in zip(trained.encoder.variables, fresh.encoder.variables, strict=True):
        assert np.array_equal(old, new), old.name
    for stored, before, now in zip(
        trained.logits.get_weights(), fresh_head, fresh.logits.get_weights(), strict=True
    ):
        assert np.array_equal(now[..., 0], stored[..., CLASSES.index("odd")])
        assert np.array_equal(now[..., 1], before[..., 1])
        assert np.array_equal(now[..., 2], stored[..., CLASSES.index("calm")])


@pytest.mark.parametrize("option", [{"pooling": "cls"}, {"hidden_size": 32}], ids=str)
def test_another_encoder_is_refused(
    option: dict[str, object], checkpoint: Artifact[CheckpointContent]
) -> None:
    """Fault E6."""
    config = MODEL.model_copy(update=option)
    model = build_classifier(config, VOCABULARY, len(CLASSES), seed=8)
    with pytest.raises(ConfigError, match=r"^model.start_from: that release was trained from anot"):
        load_initial_weights(model, config, CLASSES, checkpoint)


def test_the_head_of_a_regression_says_the_same_numbers_of_another_mean(
    checkpoint: Artifact[CheckpointContent],
) -> None:
    stored = checkpoint.content.model_copy(
        update={"task": TaskInfo(kind="regression", mean=10.0, std=4.0), "classes": CLASSES}
    )
    task = TaskInfo(kind="regression", mean=7.0, std=2.0)
    fresh = build_classifier(MODEL, VOCABULARY, len(CLASSES), seed=8)
    trained, _, _ = load_classifier(checkpoint)
    load_initial_weights(fresh, MODEL, (), replace(checkpoint, content=stored), task)
    features = np.random.default_rng(2).normal(size=(5, MODEL.hidden_size)).astype(np.float32)
    before = compute_scores(trained.head(features), stored.task)
    np.testing.assert_allclose(compute_scores(fresh.head(features), task), before, rtol=1e-5)


def test_of_another_kind_of_task_only_the_encoder_is_taken(
    checkpoint: Artifact[CheckpointContent],
) -> None:
    fresh = build_classifier(MODEL, VOCABULARY, len(CLASSES), seed=8)
    head = fresh.logits.get_weights()
    load_initial_weights(fresh, MODEL, CLASSES, checkpoint, TaskInfo(kind="multi_label"))
    trained, _, _ = load_classifier(checkpoint)
    assert np.array_equal(fresh.encoder.variables[0], trained.encoder.variables[0])
    for before, now in zip(head, fresh.logits.get_weights(), strict=True):
        assert np.array_equal(before, now)
