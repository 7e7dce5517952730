"""A Hugging Face BERT as Model Garden's `BertEncoderV2`: sizes from its config.json, weights from its tensors.

Anything that the network cannot represent is refused with the name of the field or tensor; nothing is skipped in silence
but the heads of other tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from official.nlp.modeling.networks import BertEncoderV2

from components.errors import ConfigError, DataError
from components.model.dropout import DropoutSeed, replace_dropout
from components.model.fused_transformer import exact_gelu, layer_norm, run_blocks

_SIZES = {
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
}
_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert",),
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
}
_DEFAULTS = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "max_position_embeddings": 512,
}
_OLD_NAMES = {"gamma": "weight", "beta": "bias"}
_OTHER_HEADS = ("cls.", "classifier.", "qa_outputs.")


class BertSizes(NamedTuple):
    """What a config.json says about the network's shape."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    inner: int
    positions: int
    types: int
    norm_epsilon: float


class BertEncoder(tf.keras.layers.Layer):
    """input_word_ids, input_mask, input_type_ids (int32 [batch, length]) -> sequence_output [batch, length, hidden], pooled_output [batch, hidden].

    A network with an output range gives that many first tokens of the sequence alone. The types are zeros where none are given. Both outputs are
    float32; the matrix products are of the compute type of the policy that was set when it was made. Where `token_embeddings` (float32 [batch, length, hidden]) is given, it stands for the rows of `word_embeddings` that the ids name.
    """

    def __init__(self, network: BertEncoderV2, **kwargs: Any) -> None:
        super().__init__(dtype=tf.float32, **kwargs)
        self.network = network
        network.transformer_layers[-1]._output_range = network.get_config()["output_range"]
        self.hidden_size: int = network.get_config()["hidden_size"]
        self.matmul_dtype = tf.as_dtype(tf.keras.mixed_precision.global_policy().compute_dtype)

    @property
    def word_embeddings(self) -> tf.Variable:
        """The embeddings of the word pieces: [vocabulary, hidden]."""
        return self.network._embedding_layer.embeddings

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        network, mask = self.network, inputs["input_mask"]
        words = (
            inputs["token_embeddings"]
            if "token_embeddings" in inputs
            else tf.gather(self.word_embeddings, inputs["input_word_ids"])
        )
        positions = network._position_embedding_layer._position_embeddings[: tf.shape(mask)[1]]
        table = network._type_embedding_layer.embeddings
        types = (
            _rows_of_few(table, inputs["input_type_ids"])
            if "input_type_ids" in inputs
            else table[0]
        )
        embedded = layer_norm(network._embedding_norm_layer, words + (positions + types))
        embedded = network._embedding_dropout(embedded, training=training)
        sequence = run_blocks(
            network.transformer_layers,
            embedded,
            mask,
            exact_gelu,
            self.matmul_dtype,
            training,
        )
        pooled = tf.cast(network.pooler_layer(sequence[:, 0]), tf.float32)
        return {"pooled_output": pooled, "sequence_output": sequence}

    def freeze_pooler(self) -> None:
        """The pooled output is not asked for: its weights are no longer trained."""
        self.network.pooler_layer.trainable = False


def _rows_of_few(table: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
    """The table's rows by one product with ones and zeros: the gradient of a gather adds up in a loop, token by token."""
    return tf.tensordot(tf.one_hot(ids, table.shape[0]), tf.convert_to_tensor(table), 1)


def parse_sizes(config: Mapping[str, Any], source: str) -> BertSizes:
    """The sizes in a config.json; ConfigError names the first field that cannot be represented exactly."""
    values = {**_DEFAULTS, **config}
    for field, allowed in _FIXED.items():
        if values.get(field) not in allowed:
            raise ConfigError(
                f"{source}: config.json: {field} is {values.get(field)!r}; only {allowed[0]!r} can be loaded"
            )
    for field in _SIZES.values():
        value = values.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(
                f"{source}: config.json: {field} must be a positive whole number, found {value!r}"
            )
    epsilon = values["layer_norm_eps"]
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ConfigError(
            f"{source}: config.json: layer_norm_eps must lie between 0 and 1, found {epsilon!r}"
        )
    hidden, heads = values["hidden_size"], values["num_attention_heads"]
    if hidden % heads:
        raise ConfigError(
            f"{source}: config.json: hidden_size {hidden} is not a multiple of num_attention_heads {heads}"
        )
    return BertSizes(
        **{name: values[field] for name, field in _SIZES.items()}, norm_epsilon=epsilon
    )


def build_network(
    sizes: BertSizes, dropout: float, state: DropoutSeed | None, output_range: int | None = None
) -> BertEncoderV2:
    """A built network with random weights; exact GELU, as Hugging Face's `gelu` (the tanh form is 4e-3 off).

    With an `output_range`, its last layer computes that many first tokens and no others.
    Units are dropped per example under `state`; with None, by Keras's own layers (for an export to other programs).
    """
    network = BertEncoderV2(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        num_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        inner_dim=sizes.inner,
        inner_activation=exact_gelu,
        max_sequence_length=sizes.positions,
        type_vocab_size=sizes.types,
        output_dropout=dropout,
        attention_dropout=dropout,
        output_range=output_range,
        name="bert",
    )
    ids = tf.zeros([1, 2], tf.int32)
    network({"input_word_ids": ids, "input_mask": tf.ones_like(ids), "input_type_ids": ids})
    if state is not None:
        replace_dropout(network, state)
    network._embedding_norm_layer.epsilon = sizes.norm_epsilon
    for block in network.transformer_layers:
        block._attention_layer_norm.epsilon = block._output_layer_norm.epsilon = sizes.norm_epsilon
    return network


def load_weights(
    network: BertEncoderV2, names: Iterable[str], read: Callable[[str], np.ndarray], source: str
) -> bool:
    """Assign every weight of the network from a checkpoint; `read(name)` gives a tensor as an array.

    Returns whether the checkpoint has a pooler; without one, the pooled output is all zeros. DataError lists the tensors that are missing, unknown or of another shape.
    """
    found = _encoder_names(names)
    slots = _slots(network)
    has_pooler = any(name.startswith("pooler.") for name in found)
    if not has_pooler:
        slots = {name: slot for name, slot in slots.items() if not name.startswith("pooler.")}
    problems = [f"missing: {name}" for name in slots if name not in found]
    problems += [
        f"not part of a BERT encoder: {found[name]}" for name in found if name not in slots
    ]
    values: list[tuple[tf.Variable, np.ndarray]] = []
    for name in slots.keys() & found.keys():
        slot, tensor = slots[name], np.asarray(read(found[name]), np.float32)
        if tensor.shape != slot.shape:
            problems.append(
                f"{found[name]} has shape {list(tensor.shape)}, config.json asks for {list(slot.shape)}"
            )
        values.append((slot.variable, tensor.T if slot.transposed else tensor))
    if problems:
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError(
            f"{source}: the weights do not fit:\n  " + "\n  ".join(sorted(problems)[:10]) + more
        )
    for variable, value in values:
        variable.assign(value.reshape(variable.shape))
    if not has_pooler:
        network.pooler_layer.kernel.assign(tf.zeros_like(network.pooler_layer.kernel))
    return has_pooler


def _encoder_names(names: Iterable[str]) -> dict[str, str]:
    """Name within the encoder, as today's checkpoints spell it -> name in the file."""
    names = list(names)
    prefix = "bert." if any(name.startswith("bert.embeddings.") for name in names) else ""
    found = {}
    for name in names:
        if (
            name.startswith(_OTHER_HEADS)
            or not name.startswith(prefix)
            or name.endswith(".position_ids")
        ):
            continue
        stem, _, last = name.removeprefix(prefix).rpartition(".")
        found[f"{stem}.{_OLD_NAMES.get(last, last)}"] = name
    return found


class _Slot(NamedTuple):
    """Where a tensor of the checkpoint goes: `shape` is the checkpoint's, which keeps matrices as [outputs, inputs]."""

    variable: tf.Variable
    shape: tuple[int, ...]
    transposed: bool = False


def _slots(network: BertEncoderV2) -> dict[str, _Slot]:
    """Checkpoint name -> slot. The network keeps a matrix as [inputs..., outputs...], with the heads as an axis of their own."""
    slots: dict[str, _Slot] = {}

    def table(name: str, variable: tf.Variable) -> None:
        slots[f"embeddings.{name}.weight"] = _Slot(variable, tuple(variable.shape))

    def norm(name: str, layer: Any) -> None:
        slots[f"{name}.weight"] = _Slot(layer.gamma, tuple(layer.gamma.shape))
        slots[f"{name}.bias"] = _Slot(layer.beta, tuple(layer.beta.shape))

    def dense(name: str, layer: Any, input_axes: int = 1) -> None:
        axes = tuple(layer.kernel.shape)
        slots[f"{name}.weight"] = _Slot(
            layer.kernel,
            (math.prod(axes[input_axes:]), math.prod(axes[:input_axes])),
            transposed=True,
        )
        slots[f"{name}.bias"] = _Slot(layer.bias, (math.prod(layer.bias.shape),))

    table("word_embeddings", network._embedding_layer.embeddings)
    table("position_embeddings", network._position_embedding_layer._position_embeddings)
    table("token_type_embeddings", network._type_embedding_layer.embeddings)
    norm("embeddings.LayerNorm", network._embedding_norm_layer)
    for i, block in enumerate(network.transformer_layers):
        at, attention = f"encoder.layer.{i}", block._attention_layer
        dense(f"{at}.attention.self.query", attention._query_dense)
        dense(f"{at}.attention.self.key", attention._key_dense)
        dense(f"{at}.attention.self.value", attention._value_dense)
        dense(f"{at}.attention.output.dense", attention._output_dense, input_axes=2)
        norm(f"{at}.attention.output.LayerNorm", block._attention_layer_norm)
        dense(f"{at}.intermediate.dense", block._intermediate_dense)
        dense(f"{at}.output.dense", block._output_dense)
        norm(f"{at}.output.LayerNorm", block._output_layer_norm)
    dense("pooler.dense", network.pooler_layer)
    return slots
