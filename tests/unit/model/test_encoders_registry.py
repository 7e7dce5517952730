"""The registry of encoders: what each kind says about itself, and a kind that is added."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.model import encoders
from components.model.classifier import build_classifier
from components.model.dropout import DropoutSeed
from components.model.encoders import hugging_face
from components.model.serving_model import ServingModel, load_scorer, save_serving_model
from tests.support.training import tiny_bert
from tests.support.training.tiny_checkpoint import CLASSES, VOCABULARY

SCRATCH_FINGERPRINT = "10b452d58a256a1327cce346764278aea1d992c475b0ec3935a566f9e85201f2"


def _tiny(directory: Path, **options: Any) -> ModelConfig:
    return ModelConfig.model_validate({"encoder": f"hf:{directory}", "max_length": 16, **options})


class OneHotLayer(tf.keras.layers.Layer):
    """Word pieces as one-hot vectors: the smallest `EncoderLayer` there is."""

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_size = vocabulary_size
        self.word_embeddings = None

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        vectors = tf.one_hot(inputs["input_word_ids"], self.hidden_size)
        return {"sequence_output": vectors, "pooled_output": vectors[:, 0]}

    def freeze_pooler(self) -> None:
        """It has no pooler."""

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """It has no weights."""


class OneHotEncoder:
    """An encoder of a new kind, as an object; the four of kubert are modules."""

    def load_vocabulary(self, config: ModelConfig) -> Vocabulary | None:
        return VOCABULARY

    def find_hidden_size(self, config: ModelConfig) -> int | None:
        return len(VOCABULARY)

    def validate_files(self, config: ModelConfig) -> bool:
        return True

    def describe_weights(self, config: ModelConfig) -> Mapping[str, object]:
        return {"kind": "one-hot"}

    def check_segments(self, config: ModelConfig) -> None:
        pass

    def build_layer(
        self,
        config: ModelConfig,
        vocabulary: Vocabulary,
        seed: int,
        dropout_seed: DropoutSeed,
        *,
        has_pairs: bool,
    ) -> OneHotLayer:
        return OneHotLayer(len(vocabulary))


def test_a_fifth_encoder_is_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(encoders.ENCODERS, "one-hot", OneHotEncoder())
    config = ModelConfig(pooling="mean").model_copy(update={"encoder": "one-hot:words"})
    assert encoders.load_vocabulary(config) == VOCABULARY
    assert encoders.find_hidden_size(config) == len(VOCABULARY)
    assert encoders.compute_fingerprint(config) not in (
        encoders.compute_fingerprint(ModelConfig(encoder=kind)) for kind in ("scratch", "minilm")
    )
    classifier = build_classifier(config, VOCABULARY, len(CLASSES), seed=1)
    expected = tf.nn.softmax(classifier({"input_word_ids": tf.constant([[2, 7, 3]])})).numpy()
    model = ServingModel(classifier, VOCABULARY, CLASSES, config.max_length)
    save_serving_model(model, tmp_path / "model")
    np.testing.assert_allclose(
        load_scorer(tmp_path / "model")([VOCABULARY.tokens[7]]), expected, atol=1e-6
    )


@pytest.mark.parametrize(
    ("reference", "kind"),
    [("scratch", "scratch"), ("minilm", "minilm"), ("hf:a/b", "hf"), ("hub:a/b/1", "hub")],
)
def test_the_configuration_accepts_the_kinds_of_the_registry(reference: str, kind: str) -> None:
    assert encoders.find_encoder(ModelConfig(encoder=reference)) is encoders.ENCODERS[kind]


def test_the_configuration_accepts_no_other_kind() -> None:
    assert set(encoders.ENCODERS) == {"scratch", "minilm", "hf", "hub"}
    with pytest.raises(ValidationError, match="unknown encoder 'one-hot:words'"):
        ModelConfig(encoder="one-hot:words")


def test_scratch_has_no_vocabulary_of_its_own() -> None:
    assert encoders.load_vocabulary(ModelConfig(encoder="scratch")) is None


def test_minilm_has_thirty_thousand_lower_cased_word_pieces() -> None:
    vocabulary = encoders.load_vocabulary(ModelConfig(encoder="minilm"))
    assert vocabulary is not None
    assert (len(vocabulary), vocabulary.lower_case, vocabulary.pad_id) == (30522, True, 0)


def test_minilm_has_the_same_fingerprint_by_name_and_by_directory() -> None:
    by_name = ModelConfig(encoder="minilm", pooling="mean")
    directory = hugging_face.locate_checkpoint("minilm")
    by_directory = ModelConfig(encoder=f"hf:{directory}", pooling="mean")
    assert encoders.compute_fingerprint(by_name) == encoders.compute_fingerprint(by_directory)


def test_the_hidden_size_is_read_without_the_weights(tmp_path: Path) -> None:
    directory = tiny_bert.write(tmp_path / "a")
    (directory / "model.safetensors").unlink()
    assert encoders.find_hidden_size(_tiny(directory)) == 24
    assert encoders.find_hidden_size(ModelConfig(encoder="minilm")) == 384
    assert encoders.find_hidden_size(ModelConfig(encoder="scratch", hidden_size=96)) == 96
    assert encoders.find_hidden_size(ModelConfig(encoder="hub:/no/such/model")) is None


def test_a_fingerprint_depends_on_the_content_and_not_on_the_path(tmp_path: Path) -> None:
    first = tiny_bert.write(tmp_path / "a")
    same = tiny_bert.write(tmp_path / "b")
    other = tiny_bert.write(tmp_path / "c", tiny_bert.tensors(seed=8))
    resized = tiny_bert.write(tmp_path / "d", layer_norm_eps=1e-12)
    prints = [
        encoders.compute_fingerprint(_tiny(directory))
        for directory in (first, same, other, resized)
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert len(prints[0]) == 64


def test_a_fingerprint_changes_with_weights_that_are_overwritten(tmp_path: Path) -> None:
    config = _tiny(tiny_bert.write(tmp_path / "a"))
    before = encoders.compute_fingerprint(config)
    weights = tiny_bert.write(tmp_path / "a", tiny_bert.tensors(seed=8)) / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    assert encoders.compute_fingerprint(config) != before


def test_a_fingerprint_depends_on_what_the_features_depend_on(tmp_path: Path) -> None:
    directory = tiny_bert.write(tmp_path / "a")
    base = encoders.compute_fingerprint(_tiny(directory))
    assert encoders.compute_fingerprint(_tiny(directory, pooling="cls")) != base
    assert encoders.compute_fingerprint(_tiny(directory, dropout=0.4, freeze=True)) == base


def test_the_fingerprint_of_scratch_is_that_of_earlier_versions() -> None:
    """A checkpoint is refused if the fingerprint of its encoder changes."""
    assert encoders.compute_fingerprint(ModelConfig(encoder="scratch")) == SCRATCH_FINGERPRINT


@pytest.mark.parametrize(
    "option",
    ["num_layers", "num_heads", "hidden_size", "intermediate_size", "vocab_size", "max_length"],
)
def test_the_fingerprint_of_scratch_depends_on_every_size(option: str) -> None:
    base = ModelConfig(encoder="scratch")
    changed = base.model_copy(update={option: getattr(base, option) * 2})
    assert encoders.compute_fingerprint(changed) != encoders.compute_fingerprint(base)


def test_scratch_has_the_configured_sizes(tmp_path: Path) -> None:
    vocabulary = encoders.load_vocabulary(_tiny(tiny_bert.write(tmp_path / "a")))
    assert vocabulary is not None
    config = ModelConfig(
        encoder="scratch",
        hidden_size=12,
        num_heads=3,
        intermediate_size=20,
        num_layers=2,
        max_length=10,
    )
    encoder = encoders.build_encoder(config, vocabulary, 1)
    embeddings = (40 + 10) * 12
    block = 4 * (12 * 12 + 12) + (12 * 20 + 20) + (20 * 12 + 12) + 4 * 12
    sizes = [int(np.prod(variable.shape)) for variable in encoder.trainable_variables]
    assert sum(sizes) == embeddings + 2 * block


def test_descriptions_of_encoders_need_no_tensorflow() -> None:
    code = (
        "import sys\n"
        "from components.config.schema import ModelConfig\n"
        "from components.model import encoders\n"
        "encoders.load_vocabulary(ModelConfig())\n"
        "for kind in ('minilm', 'scratch'):\n"
        "    encoders.compute_fingerprint(ModelConfig(encoder=kind))\n"
        "    encoders.find_hidden_size(ModelConfig(encoder=kind))\n"
        "encoders.find_hidden_size(ModelConfig(encoder='hub:/no/such/model'))\n"
        "print([name for name in ('tensorflow', 'torch') if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
