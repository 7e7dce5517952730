"""The usual notebook: the model tokenizes and pads to 128; float32, `compile` and `fit`.

    python -m benchmarks.baselines.training_notebook ROWS WEIGHTS

The model is that of TensorFlow's tutorial on classifying text with BERT: the layers of TF-Hub's
preprocessor, Model Garden's encoder, dropout and a dense layer. The optimizer comes from Model
Garden's `create_optimizer`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import components  # noqa: F401  # sets TensorFlow's environment
from benchmarks.baselines.training_inputs import read_rows
from benchmarks.harness.contender import MeasurementLoop
from benchmarks.models import garden_bert

BATCH, LENGTH = 32, 128


def main(rows: Path, weights: Path) -> None:
    """Train until the input ends; a round is one `fit` over the rows."""
    rounds = MeasurementLoop(warm_up=0)
    import tensorflow as tf

    examples = read_rows(rows)
    steps = len(examples["texts"]) // BATCH
    model = _build_model(weights, examples["classes"], steps * 100)
    batches = (
        tf.data.Dataset.from_tensor_slices((examples["texts"], examples["labels"]))
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )
    model.fit(
        batches.take(3), verbose=0
    )  # every batch has the same shape, so this is all there is to warm up
    while True:
        rounds.wait_for_start()
        history = model.fit(batches, verbose=0).history
        rounds.report_measurement(len(examples["texts"]), loss=history["loss"][-1])


def _build_model(weights: Path, classes: int, steps: int) -> Any:
    import tensorflow as tf
    from official.nlp import optimization
    from official.nlp.modeling import networks
    from official.nlp.modeling.layers import text_layers

    tokenizer = text_layers.BertTokenizer(vocab_file=str(weights / "vocab.txt"), lower_case=True)
    packer = text_layers.BertPackInputs(
        LENGTH, special_tokens_dict=tokenizer.get_special_tokens_dict()
    )
    encoder = networks.BertEncoderV2(**garden_bert.read_sizes(weights))
    text = tf.keras.layers.Input(shape=(), dtype=tf.string, name="text")
    pooled = encoder(packer(tokenizer(text)))["pooled_output"]
    garden_bert.load_weights(encoder, weights)
    logits = tf.keras.layers.Dense(classes, name="classifier")(tf.keras.layers.Dropout(0.1)(pooled))
    model = tf.keras.Model(text, logits)
    model.compile(
        optimizer=optimization.create_optimizer(
            5e-5, num_train_steps=steps, num_warmup_steps=steps // 10, optimizer_type="adamw"
        ),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
