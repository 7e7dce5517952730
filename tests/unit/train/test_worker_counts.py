"""Real workers on loopback: the number of workers does not change what is learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import checkpoint, manifest
from components.artifacts.artifact import verify_artifact
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.config.schema import ModelConfig
from components.model.encoders import load_vocabulary
from tests.support.training import local_training, tiny_bert, training_shards

MODEL = {
    f"model__{name}": value
    for name, value in training_shards.MODEL.model_dump(
        include={"encoder", "max_length", "hidden_size"}
    ).items()
}
MODEL |= {"model__vocab_size": 100, "model__intermediate_size": 16, "model__dropout": 0.2}
# Batches of 16 do not divide by 3; 202 rows leave a batch of 10, or, for batches of 67, of 1.
TRAIN = {
    "train__batch_size": 16,
    "train__epochs": 3,
    "train__learning_rate": 0.003,
    "train__length_buckets": [12, 20],
    "train__length_grouping_batches": 4,
}
Trained = Callable[..., tuple[Path, CheckpointContent]]


@pytest.fixture(scope="module")
def train_once(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trains once for each set of options, however many tests look at the result."""
    root = tmp_path_factory.mktemp("gangs")
    shards = training_shards.make(root / "shards", rows={"train": 202})
    done: dict[str, tuple[Path, CheckpointContent]] = {}

    def train(**changes: Any) -> tuple[Path, CheckpointContent]:
        name = json.dumps(changes, sort_keys=True)
        if name not in done:
            home = root / str(len(done))
            done[name] = (
                home,
                local_training.train(
                    home, shards, local_training.options(**MODEL | TRAIN | changes)
                ),
            )
        return done[name]

    return train


def assert_same(one: CheckpointContent, other: CheckpointContent, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(one.step_losses, other.step_losses, rtol=tolerance, atol=tolerance)
    for a, b in zip(one.history, other.history, strict=True):
        assert a.validation_loss == pytest.approx(b.validation_loss, rel=tolerance)
        assert a.validation_accuracy == b.validation_accuracy
        assert (a.steps, a.learning_rate) == (b.steps, b.learning_rate)
    assert (one.best_step, one.steps) == (other.best_step, other.steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    "workers",
    [
        pytest.param(2, id="2 workers"),
        pytest.param(3, id="3 workers", marks=pytest.mark.nightly),
    ],
)
def test_several_workers_learn_what_one_learns(workers: int, train_once: Trained) -> None:
    """Fault W11."""
    (alone_home, alone), (home, together) = (
        train_once(train__workers=1),
        train_once(train__workers=workers),
    )
    assert_same(alone, together)
    assert together.workers == workers
    expected = local_training.weights(alone_home / "checkpoint")
    for name, value in local_training.weights(home / "checkpoint").items():
        np.testing.assert_allclose(value, expected[name], atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_a_run_learns_and_its_artifact_says_how(train_once: Trained) -> None:
    home, content = train_once(train__workers=1)
    assert content.steps == len(content.step_losses) == 3 * 13
    assert [(epoch.epoch, epoch.steps) for epoch in content.history] == [(1, 13), (2, 26), (3, 39)]
    assert content.history[-1].validation_loss < content.history[0].validation_loss < np.log(3)
    assert (content.history[-1].train_accuracy or 0) > 0.5
    assert content.history[0].learning_rate > content.history[-1].learning_rate == 0
    assert 0.5 < content.padding_efficiency < 1
    assert content.train_examples_per_second > 0
    assert content.classes == training_shards.CLASSES
    assert content.vocabulary_sha256 == training_shards.VOCABULARY.sha256
    sealed = verify_artifact(home / "checkpoint", "checkpoint")
    assert any(name.startswith("tensorboard/events") for name in sealed.files)
    assert sealed.inputs == {"shards": manifest.read_manifest(home.parent / "shards").digest}
    assert sealed.config["batch_size"] == 16
    assert sealed.config["accumulate"] == 1
    loss_of_epoch = np.mean([content.step_losses[i] for i in range(13)])
    assert content.history[0].train_loss == pytest.approx(loss_of_epoch, rel=0.02)


@pytest.mark.slow
def test_tensorboard_shows_every_figure(train_once: Trained) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    home, content = train_once(train__workers=1)
    board = EventAccumulator(str(home / "checkpoint" / "tensorboard"), size_guidance={"tensors": 0})
    board.Reload()
    assert {
        "loss",
        "accuracy",
        "learning_rate",
        "gradient_norm",
        "validation_loss",
        "validation_accuracy",
    } <= set(board.Tags()["tensors"])
    assert [event.step for event in board.Tensors("validation_loss")] == [
        epoch.steps for epoch in content.history
    ]


@pytest.mark.slow
def test_a_batch_with_fewer_rows_than_workers_is_trained_on(train_once: Trained) -> None:
    """Fault W11."""
    # 202 = 3 * 67 + 1: one batch has a single row, so two of the three workers have none.
    (_, alone), (_, together) = (
        train_once(train__workers=count, train__batch_size=67, train__epochs=2) for count in (1, 3)
    )
    assert_same(alone, together)
    assert alone.steps == 8


@pytest.mark.slow
def test_workers_and_accumulation_do_not_change_a_weighted_loss(train_once: Trained) -> None:
    options = {
        "train__class_weights": {"calm": 1, "loud": 5, "odd": 2},
        "train__label_smoothing": 0.1,
        "train__best_metric": "macro_f1",
    }
    (_, plain), (home, whole), (_, parts) = (
        train_once(train__workers=1),
        train_once(train__workers=1, **options),
        train_once(train__workers=2, train__gradient_accumulation_steps=3, **options),
    )
    assert_same(whole, parts)
    assert [epoch.validation_macro_f1 for epoch in whole.history] == [
        epoch.validation_macro_f1 for epoch in parts.history
    ]
    assert 0 < whole.history[-1].validation_macro_f1 < 1
    assert abs(whole.step_losses[0] - plain.step_losses[0]) > 1e-3
    sealed = verify_artifact(home / "checkpoint", "checkpoint")
    assert sealed.config["class_weights"] == {"calm": 1, "loud": 5, "odd": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.nightly)]
)
def test_half_precision_learns_too(precision: str, train_once: Trained) -> None:
    (_, exact), (home, rough) = (
        train_once(train__workers=1),
        train_once(train__workers=2, train__precision=precision),
    )
    assert np.isfinite(rough.step_losses).all()
    np.testing.assert_allclose(rough.step_losses, exact.step_losses, atol=0.1)
    assert rough.step_losses != exact.step_losses
    assert {
        str(value.dtype)
        for value in local_training.weights(home / "checkpoint").values()
        if value.dtype.kind == "f"
    } == {"float32"}


@pytest.mark.slow
def test_training_stops_when_validation_stops_improving_and_keeps_the_best(
    train_once: Trained,
) -> None:
    home, content = train_once(
        train__workers=1,
        train__epochs=40,
        train__early_stopping_patience=2,
        train__best_metric="loss",
        train__learning_rate=0.02,
        train__lr_schedule="constant",
    )
    losses = [epoch.validation_loss for epoch in content.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 40
    assert content.best_step == content.history[best].steps < content.steps
    # The weights are those of the best step, so they score what validation scored then.
    assert _validation_loss(home) == pytest.approx(losses[best], rel=1e-5)
    assert losses[-1] > losses[best] * 1.001


@pytest.mark.slow
def test_another_run_on_a_finished_state_starts_no_worker(train_once: Trained) -> None:
    home, content = train_once(train__workers=1)
    before = sorted((local_training.work(home) / "logs").iterdir())
    again = local_training.train(
        home,
        home.parent / "shards",
        local_training.options(**MODEL | TRAIN, train__workers=1),
        output="again",
    )
    assert again == content
    assert sorted((local_training.work(home) / "logs").iterdir()) == before
    first, second = (
        local_training.weights(home / "checkpoint"),
        local_training.weights(home / "again"),
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_frozen_encoder_s_head_learns_the_same_from_cached_features(tmp_path: Path) -> None:
    encoder = f"hf:{tiny_bert.write(tmp_path / 'bert')}"
    vocabulary = load_vocabulary(ModelConfig(encoder=encoder))
    assert vocabulary is not None
    shards = training_shards.make(
        tmp_path / "shards", encoder=encoder, vocabulary=vocabulary, max_length=16
    )
    model = {
        "model__encoder": encoder,
        "model__max_length": 16,
        "model__freeze": True,
        "model__dropout": 0.2,
    }
    arguments = (
        TRAIN
        | model
        | {"train__length_buckets": [16], "train__batch_size": 32, "train__learning_rate": 0.05}
    )
    alone, together = (
        local_training.train(
            tmp_path / str(n), shards, local_training.options(**arguments, train__workers=n)
        )
        for n in (1, 2)
    )
    assert_same(alone, together)
    assert alone.history[-1].train_loss < alone.history[0].train_loss
    features = [
        np.load(next((tmp_path / str(n) / "scratch" / "features").glob("*/train.npy")))
        for n in (1, 2)
    ]
    np.testing.assert_allclose(features[0], features[1], atol=1e-6)
    assert features[0].shape == (203, 24)
    assert {path.name for path in (tmp_path / "2" / "scratch" / "features").glob("*/*")} == {
        "train.npy",
        "validation.npy",
    }
    weights = local_training.weights(tmp_path / "2" / "checkpoint")
    frozen = tiny_bert.tensors()["bert.embeddings.word_embeddings.weight"]
    assert any(
        value.shape == frozen.shape and np.array_equal(value, frozen) for value in weights.values()
    )


def _validation_loss(home: Path) -> float:
    import tensorflow as tf

    from components.artifacts.token_shards import open_shards
    from components.model.restore import load_classifier

    model, _, _ = load_classifier(open_checkpoint(home / "checkpoint"))
    split = open_shards(home.parent / "shards").open_split("validation")
    logits = model(
        {"input_word_ids": tf.constant(split.read_padded(range(len(split)), 20))}, training=False
    )
    return float(
        tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=split.read_labels(), logits=logits
            )
        )
    )


@pytest.mark.slow
def test_there_is_no_pointer_file_to_damage(train_once: Trained) -> None:
    """Fault C2."""
    home, _ = train_once(train__workers=1)
    assert [path for path in home.rglob("checkpoint") if path.is_file()] == []
    assert checkpoint.list_periodic_checkpoints(local_training.work(home) / "checkpoints")
