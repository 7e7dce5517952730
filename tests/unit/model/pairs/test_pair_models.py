"""Classifiers of pairs: every kind of encoder tells the segments apart, also when it is served."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError, DataError
from components.model import encoders
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
INPUTS = ("Question", "answer")
PAIRS = [("the cat", "a b c d"), ("cats", "the"), ("", "a " * 30), ("a " * 30, "b " * 30)]
PAIRS += [(f"the {'a ' * number}", "cat") for number in range(12)]


def build(kind: str, home: Path, **options: Any) -> tuple[Classifier, Vocabulary, ModelConfig]:
    checkpoint = tiny_bert.write(home / "tiny")
    vocabulary = tokenizer_files.read_vocabulary(checkpoint)
    encoder = {"scratch": "scratch", "hf": f"hf:{checkpoint}"}.get(kind)
    encoder = encoder or f"hub:{export_hub(checkpoint, home / 'hub')}"
    sizes = {"hidden_size": 16, "intermediate_size": 16, "vocab_size": 100}
    config = ModelConfig.model_validate({"encoder": encoder, "max_length": 16, **sizes, **options})
    return build_classifier(config, vocabulary, 2, seed=3, has_pairs=True), vocabulary, config


@pytest.mark.parametrize("kind", ["scratch", "hf", "hub"])
def test_the_segments_change_the_features_of_every_encoder(tmp_path: Path, kind: str) -> None:
    classifier, vocabulary, config = build(kind, tmp_path)
    ids, _ = WordPiece(vocabulary).tokenize_flat([("the cat", "a b")], config.max_length)
    inputs = {"input_word_ids": tf.constant([ids])}
    mask = tf.ones_like(inputs["input_word_ids"])
    types = tf.constant([[0, 0, 0, 0, 1, 1, 1]])
    pooling = {"pooled": "pooled_output", "mean": "sequence_output"}[config.resolved_pooling]
    with_types, without = (
        classifier.encoder({**inputs, "input_mask": mask, "input_type_ids": each})[pooling]
        for each in (types, tf.zeros_like(types))
    )
    assert np.abs(with_types - without).max() > 1e-3
    features = classifier.features(inputs)
    expected = with_types if pooling == "pooled_output" else tf.reduce_mean(with_types, axis=1)
    np.testing.assert_allclose(features, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["scratch", "hf", "hub"])
def test_the_served_graph_gives_the_scores_of_the_classifier(tmp_path: Path, kind: str) -> None:
    classifier, vocabulary, config = build(kind, tmp_path)
    ids, splits = WordPiece(vocabulary).tokenize_flat(PAIRS, config.max_length)
    expected = []
    for start, stop in itertools.pairwise(splits):
        logits = classifier({"input_word_ids": tf.constant([ids[start:stop]])}, training=False)
        expected.append(tf.nn.softmax(logits)[0])
    served = ServingModel(classifier, vocabulary, CLASSES, config.max_length, inputs=INPUTS)
    save_serving_model(served, tmp_path / "model")
    scorer = load_scorer(tmp_path / "model", INPUTS)
    np.testing.assert_allclose(scorer(PAIRS), expected, atol=1e-6)
    np.testing.assert_allclose(scorer(PAIRS[3:4]), expected[3:4], atol=1e-6)
    assert scorer([]).shape == (0, 2)
    assert load_embedder(tmp_path / "model", INPUTS)(PAIRS).shape[0] == len(PAIRS)


def test_the_names_of_the_inputs_give_their_order(tmp_path: Path) -> None:
    classifier, vocabulary, config = build("hf", tmp_path)
    served = ServingModel(classifier, vocabulary, CLASSES, config.max_length, inputs=INPUTS)
    save_serving_model(served, tmp_path / "model")
    swapped = load_scorer(tmp_path / "model", INPUTS[::-1])([("the", "cat")])
    np.testing.assert_allclose(
        swapped, load_scorer(tmp_path / "model", INPUTS)([("cat", "the")]), atol=1e-6
    )
    with pytest.raises(DataError, match="has no signature serving_default from text to label"):
        load_scorer(tmp_path / "model")


def test_an_encoder_with_one_token_type_is_refused_with_what_to_use(tmp_path: Path) -> None:
    checkpoint = tiny_bert.write(tmp_path / "tiny")
    description = checkpoint / "config.json"
    description.write_text(
        json.dumps({**json.loads(description.read_text()), "type_vocab_size": 1})
    )
    config = ModelConfig(encoder=f"hf:{checkpoint}", max_length=16)
    with pytest.raises(ConfigError, match=r"has 1 token type .* such as minilm, or scratch"):
        encoders.check_segments(config)


def test_single_texts_give_the_scratch_encoder_no_segments(tmp_path: Path) -> None:
    _, vocabulary, config = build("scratch", tmp_path)
    single = build_classifier(config, vocabulary, 2, seed=3)
    assert single.sep_id is None
    assert not any("segments" in variable.name for variable in single.encoder.variables)
