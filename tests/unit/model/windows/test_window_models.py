"""Classifiers of texts in windows: the mean over the windows, in training and as served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.model.classifier import Classifier, build_classifier
from components.model.encoders.checkpoint import tokenizer_files
from components.model.serving_model import (
    ServingModel,
    load_embedder,
    load_scorer,
    save_serving_model,
)
from components.model.tokenizer import WordPiece
from tests.support.training import tiny_bert
from tests.support.training.tiny_hub import export_hub

CLASSES = ("no", "yes")
MAX_LENGTH = 8
TEXTS = ["the cat", "", *(" ".join(["a", "cats", "b", "the"][: 1 + n % 4] * n) for n in range(14))]
SIZES = {"hidden_size": 16, "intermediate_size": 16, "vocab_size": 100, "max_length": MAX_LENGTH}


def build(kind: str, home: Path, **options: Any) -> tuple[Classifier, Vocabulary, ModelConfig]:
    checkpoint = tiny_bert.write(home / "tiny")
    vocabulary = tokenizer_files.read_vocabulary(checkpoint)
    encoder = {"scratch": "scratch", "hf": f"hf:{checkpoint}"}.get(kind)
    encoder = encoder or f"hub:{export_hub(checkpoint, home / 'hub')}"
    config = ModelConfig.model_validate(
        {"encoder": encoder, "long_texts": "windows", **SIZES, **options}
    )
    return build_classifier(config, vocabulary, 2, seed=3), vocabulary, config


def pad_rows(texts: list[str], vocabulary: Vocabulary, config: ModelConfig) -> tf.Tensor:
    """The rows of the texts, padded to the longest one: int32 [texts, tokens]."""
    rows = WordPiece(vocabulary)(tf.constant(texts), MAX_LENGTH, config.long_text_reading)
    return rows.to_tensor(vocabulary.pad_id)


def average_windows(
    classifier: Classifier, ids: npt.NDArray[np.int32], pad_id: int
) -> npt.NDArray[np.float32]:
    """The mean of the logits of each window alone: [texts, classes]."""
    means = []
    for row in ids:
        windows = row.reshape(-1, MAX_LENGTH)
        full = windows[windows[:, 0] != pad_id]
        logits = [classifier({"input_word_ids": tf.constant([each])})[0] for each in full]
        means.append(np.mean(logits, axis=0))
    return np.stack(means)


@pytest.mark.parametrize("kind", ["scratch", "hf", "hub"])
def test_the_logits_of_a_text_are_the_mean_of_its_windows(tmp_path: Path, kind: str) -> None:
    classifier, vocabulary, config = build(kind, tmp_path)
    ids = pad_rows(TEXTS, vocabulary, config)
    expected = average_windows(classifier, ids.numpy(), vocabulary.pad_id)
    np.testing.assert_allclose(classifier({"input_word_ids": ids}), expected, atol=1e-6)
    assert np.ptp(expected, axis=0).min() > 1e-3


@pytest.mark.parametrize("kind", ["scratch", "hf"])
def test_dropout_of_a_text_does_not_depend_on_the_slice_that_it_is_in(
    tmp_path: Path, kind: str
) -> None:
    classifier, vocabulary, config = build(kind, tmp_path, dropout=0.3)
    ids = pad_rows(TEXTS, vocabulary, config)

    def compute(rows: slice) -> npt.NDArray[np.float32]:
        with classifier.dropout_seed.for_rows(5, rows.start):
            logits: tf.Tensor = classifier({"input_word_ids": ids[rows]}, training=True)
        values: npt.NDArray[np.float32] = logits.numpy()
        return values

    whole = compute(slice(0, len(TEXTS)))
    parts = [compute(slice(0, 5)), compute(slice(5, 6)), compute(slice(6, len(TEXTS)))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    assert np.abs(whole - classifier({"input_word_ids": ids})).max() > 1e-3
    twice = tf.concat([ids[-1:], ids[-1:]], axis=0)
    with classifier.dropout_seed.for_rows(5, 0):
        first, second = classifier({"input_word_ids": twice}, training=True)
    assert np.abs(first - second).max() > 1e-4  # each text has masks of its own


def test_gradients_of_token_embeddings_are_those_of_the_ids(tmp_path: Path) -> None:
    classifier, vocabulary, config = build("hf", tmp_path)
    ids = pad_rows(TEXTS, vocabulary, config)
    embeddings = tf.gather(classifier.encoder.word_embeddings, ids)
    mask = tf.cast(ids != vocabulary.pad_id, tf.int32)
    given = classifier({"token_embeddings": embeddings, "input_mask": mask})
    np.testing.assert_allclose(given, classifier({"input_word_ids": ids}), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("scratch", {}, id="scratch"),
        pytest.param("hf", {"max_windows": 3, "window_overlap": 2}, id="hf"),
        pytest.param("hub", {}, id="hub"),
        pytest.param("hf", {"long_texts": "head_tail"}, id="head-tail"),
    ],
)
def test_the_served_graph_gives_the_scores_of_the_classifier(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    classifier, vocabulary, config = build(kind, tmp_path, **options)
    ids = pad_rows(TEXTS, vocabulary, config)
    expected = tf.nn.softmax(classifier({"input_word_ids": ids})).numpy()
    features = classifier.features({"input_word_ids": ids}).numpy()
    served = ServingModel(
        classifier, vocabulary, CLASSES, MAX_LENGTH, long_texts=config.long_text_reading
    )
    save_serving_model(served, tmp_path / "model")
    scorer = load_scorer(tmp_path / "model")
    np.testing.assert_allclose(scorer(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(scorer(TEXTS[-1:]), expected[-1:], atol=1e-6)
    assert scorer([]).shape == (0, 2)
    np.testing.assert_allclose(load_embedder(tmp_path / "model")(TEXTS), features, atol=1e-6)
