"""Writes an encoder or a preprocessor as a TF-Hub SavedModel, to measure `hub:` without a network.

    python -m benchmarks.models.export_hub_encoder DIRECTORY

exports the weights of `minilm` with exact GELU in float32, and checks that the loaded SavedModel
computes the same numbers to 1e-5.
Model Garden's own exporter (`official.nlp.tools.export_tfhub_lib`) cannot keep the exact GELU.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
from official.nlp.modeling import layers

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.model.encoders import bert, hugging_face
from components.model.encoders.checkpoint import bert_weights, checkpoint_files, tokenizer_files

_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")


def export_encoder(network: Any, vocabulary: Vocabulary | None, directory: Path) -> None:
    """Save a built `BertEncoderV2`, trainable, with dropout and with its vocabulary as an asset.

    Outputs: pooled_output (also as default), sequence_output, encoder_outputs.
    """
    inputs = {name: tf.keras.Input([None], dtype=tf.int32, name=name) for name in _INPUTS}
    outputs = dict(network(inputs))
    model = tf.keras.Model(inputs, {**outputs, "default": outputs["pooled_output"]})
    with tempfile.TemporaryDirectory() as work:
        if vocabulary is not None:
            model.vocab_file = tf.saved_model.Asset(_write_vocabulary(vocabulary, work))
            model.do_lower_case = tf.Variable(vocabulary.lower_case, trainable=False)
        _save_model(model, directory)


def export_preprocessor(vocabulary: Vocabulary, directory: Path, length: int = 128) -> None:
    """Save a preprocessor: string [batch] -> BERT's three inputs, int32 [batch, length] each."""
    with tempfile.TemporaryDirectory() as work:
        tokenize = layers.BertTokenizer(
            vocab_file=_write_vocabulary(vocabulary, work), lower_case=vocabulary.lower_case
        )
        texts = tf.keras.Input([], dtype=tf.string)
        pack = layers.BertPackInputs(
            seq_length=length, special_tokens_dict=tokenize.get_special_tokens_dict()
        )
        _save_model(tf.keras.Model(texts, pack(tokenize(texts))), directory)


def _write_vocabulary(vocabulary: Vocabulary, work: str) -> str:
    file = Path(work) / "vocab.txt"
    file.write_text(vocabulary.text, encoding="utf-8")
    return str(file)


def _save_model(model: tf.keras.Model, directory: Path) -> None:
    model.save(str(directory), include_optimizer=False, save_format="tf")


def main(directory: Path) -> None:
    """Export `minilm` and compare; SystemExit when the numbers differ by more than 1e-5."""
    source = hugging_face.locate_checkpoint(ModelConfig().encoder)
    network = bert.build_network(
        checkpoint_files.parse_sizes(checkpoint_files.read_json(source / "config.json"), "minilm"),
        0.1,
        None,
    )
    tensors = checkpoint_files.SafetensorsFiles(source)
    bert_weights.load_weights(network, tensors.names(), tensors.read, "minilm")
    export_encoder(network, tokenizer_files.read_vocabulary(source), directory)

    rng = np.random.default_rng(1)
    ids = rng.integers(1000, 30_000, (4, 64), np.int32)
    mask = (np.arange(64) < [[64], [40], [12], [3]]).astype(np.int32)
    inputs = {
        name: tf.constant(values)
        for name, values in zip(_INPUTS, (ids * mask, mask, np.zeros_like(ids)), strict=True)
    }
    expected, layer = network(inputs), hub.KerasLayer(str(directory), trainable=True)
    found = layer(inputs)
    for name in ("pooled_output", "sequence_output"):
        difference = float(np.abs(found[name] - expected[name]).max())
        print(f"{name}: largest difference {difference:.1e}")
        if difference > 1e-5:
            raise SystemExit(f"{directory}: {name} differs from minilm's by {difference}")
    dropped = float(
        np.abs(layer(inputs, training=True)["sequence_output"] - expected["sequence_output"]).max()
    )
    print(
        f"{directory}: {len(layer.trainable_weights)} trainable variables; "
        f"dropout changes outputs by up to {dropped:.2f} in training"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
