"""The Keras layer of encoder `hub:`: a BERT SavedModel, called as it was published.

What is part of its graph stays: float32 under every precision policy, and its own dropout, which
TensorFlow draws per worker. That dropout is the one exception to the rule that a training does not
depend on the number of workers; with `model.dropout: 0` it is off and the rule holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError
from components.model.encoders.fingerprint import check_same_vocabulary
from components.model.encoders.tf_hub import first_line, import_hub

if TYPE_CHECKING:
    import tensorflow_hub as hub

_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
_OUTPUTS = ("pooled_output", "sequence_output")


class HubEncoder(tf.keras.layers.Layer):
    """Token ids -> hidden states; an `EncoderLayer` that takes no token embeddings."""

    def __init__(
        self, layer: hub.KerasLayer, hidden_size: int, has_dropout: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.word_embeddings = None
        self.layer = layer
        self.hidden_size = hidden_size
        self._has_dropout = has_dropout

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        # Of a BERT, only dropout depends on `training`: layer normalization does not.
        given = {"input_type_ids": tf.zeros_like(inputs["input_word_ids"]), **inputs}
        outputs = self.layer(
            {name: given[name] for name in _INPUTS}, training=bool(training and self._has_dropout)
        )
        return {name: outputs[name] for name in _OUTPUTS}

    def freeze_pooler(self) -> None:
        """Nothing to do: which variables only the pooler has is unknown; their gradient is zero."""

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """Nothing to do in float32; ConfigError for other types: the graph has its own."""
        if dtype != tf.float32:
            raise ConfigError(
                f"export.precision {dtype.name}: a hub: encoder computes as it was saved; "
                "set export.precision to float32"
            )


def build_hub_encoder(
    config: ModelConfig, directory: Path, own_vocabulary: Vocabulary, vocabulary: Vocabulary
) -> HubEncoder:
    """The SavedModel as a layer, called once at `max_length`; ConfigError if it does not fit."""
    where = f"model.encoder {config.encoder}"
    check_same_vocabulary(own_vocabulary, vocabulary, where)
    hub = import_hub()
    try:
        layer = hub.KerasLayer(str(directory), trainable=not config.freeze, name="hub")
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise ConfigError(
            f"{where}: not a SavedModel that can be called as an encoder ({first_line(error)})"
        ) from None
    hidden_size = _find_hidden_size(layer, where)
    if not config.freeze and not layer.trainable_weights:
        raise ConfigError(
            f"{where}: was published without trainable variables; set model.freeze=true"
        )
    try:
        ids = tf.zeros([1, config.max_length], tf.int32)
        # Under a multi-worker strategy, a loaded function can only be called as a replica does it.
        tf.distribute.get_strategy().run(
            tf.function(lambda: layer(dict.fromkeys(_INPUTS, ids), training=False))
        )
    except (ValueError, tf.errors.OpError):
        raise ConfigError(
            f"model.max_length {config.max_length}: longer than {config.encoder} can read"
        ) from None
    return HubEncoder(layer, hidden_size, has_dropout=config.dropout > 0, name="encoder")


def _find_hidden_size(layer: hub.KerasLayer, where: str) -> int:
    """The width of the outputs; ConfigError unless inputs and outputs are a BERT encoder's."""
    inputs = {name: tf.TensorSpec([None, None], tf.int32) for name in _INPUTS}
    try:
        function = tf.function(lambda given: layer(given, training=False))
        outputs = function.get_concrete_function(inputs).structured_outputs
    except (ValueError, TypeError, KeyError, tf.errors.OpError):
        raise ConfigError(
            f"{where}: cannot be called with {', '.join(_INPUTS)} of any length; "
            "a BERT encoder in TF-Hub's format is needed"
        ) from None
    missing = [name for name in _OUTPUTS if not isinstance(outputs, Mapping) or name not in outputs]
    if missing:
        raise ConfigError(
            f"{where}: its outputs have no {' and no '.join(missing)}; "
            "a BERT encoder in TF-Hub's format is needed"
        )
    width = outputs["pooled_output"].shape[-1]
    if width is None or outputs["sequence_output"].shape[-1] != width:
        raise ConfigError(f"{where}: pooled_output and sequence_output must have one fixed width")
    return int(width)
