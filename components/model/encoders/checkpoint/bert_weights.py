"""Hugging Face's names and layouts of BERT's weights, and how Model Garden's network gets them.

Every tensor of a checkpoint must belong to the network, and every weight of the network to a
tensor; only the heads of other tasks are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from official.nlp.modeling.networks import BertEncoderV2

from components.errors import DataError
from components.model import garden_adapter
from components.model.garden_adapter import DenseWeights, LayerNormWeights

_LEGACY_NAMES = {"gamma": "weight", "beta": "bias"}
_TASK_HEADS = ("cls.", "classifier.", "qa_outputs.")
_MAX_LISTED_PROBLEMS = 10


class CheckpointTensor(NamedTuple):
    """The variable of a checkpoint's tensor, and the tensor's shape: matrices are [out, in]."""

    variable: tf.Variable
    shape: tuple[int, ...]
    is_transposed: bool = False

    def to_checkpoint(self) -> np.ndarray:
        """The variable's value in the checkpoint's layout."""
        value = self.variable.numpy()
        if self.is_transposed:
            value = value.reshape(self.shape[::-1]).T
        return np.ascontiguousarray(value).reshape(self.shape)


def load_weights(
    network: BertEncoderV2, names: Iterable[str], read: Callable[[str], np.ndarray], source: str
) -> bool:
    """Assign every weight of the network from a checkpoint; `read(name)` gives a tensor.

    Returns whether the checkpoint has a pooler; without one, the pooled output is zero.
    DataError lists the tensors that are missing, unknown or of another shape.
    """
    file_names = _find_encoder_tensors(names)
    slots = map_checkpoint_tensors(network)
    has_pooler = any(name.startswith("pooler.") for name in file_names)
    if not has_pooler:
        slots = {name: slot for name, slot in slots.items() if not name.startswith("pooler.")}
    problems = [f"missing: {name}" for name in slots if name not in file_names]
    problems += [
        f"not part of a BERT encoder: {file_names[name]}"
        for name in file_names
        if name not in slots
    ]
    values: list[tuple[tf.Variable, np.ndarray]] = []
    for name in slots.keys() & file_names.keys():
        slot, tensor = slots[name], np.asarray(read(file_names[name]), np.float32)
        if tensor.shape != slot.shape:
            problems.append(
                f"{file_names[name]} has shape {list(tensor.shape)}, "
                f"config.json requires {list(slot.shape)}"
            )
        values.append((slot.variable, tensor.T if slot.is_transposed else tensor))
    if problems:
        listed = "\n  ".join(sorted(problems)[:_MAX_LISTED_PROBLEMS])
        hidden = len(problems) - _MAX_LISTED_PROBLEMS
        more = f"\n  and {hidden} more" if hidden > 0 else ""
        raise DataError(f"{source}: the weights do not fit:\n  {listed}{more}")
    for variable, value in values:
        variable.assign(value.reshape(variable.shape))
    if not has_pooler:
        kernel = garden_adapter.read_pooler(network).kernel
        kernel.assign(tf.zeros_like(kernel))
    return has_pooler


def _find_encoder_tensors(names: Iterable[str]) -> dict[str, str]:
    """Name within the encoder, as current checkpoints spell it -> name in the file."""
    names = list(names)
    prefix = "bert." if any(name.startswith("bert.embeddings.") for name in names) else ""
    file_names = {}
    for name in names:
        if (
            name.startswith(_TASK_HEADS)
            or not name.startswith(prefix)
            or name.endswith(".position_ids")
        ):
            continue
        stem, _, last = name.removeprefix(prefix).rpartition(".")
        file_names[f"{stem}.{_LEGACY_NAMES.get(last, last)}"] = name
    return file_names


def map_checkpoint_tensors(network: BertEncoderV2) -> dict[str, CheckpointTensor]:
    """Checkpoint name -> variable of the network.

    The network keeps a matrix as [inputs..., outputs...], with the heads as an axis of their own.
    """
    tensors: dict[str, CheckpointTensor] = {}

    def add_table(name: str, variable: tf.Variable) -> None:
        tensors[f"embeddings.{name}.weight"] = CheckpointTensor(variable, tuple(variable.shape))

    def add_layer_norm(name: str, norm: LayerNormWeights) -> None:
        tensors[f"{name}.weight"] = CheckpointTensor(norm.gamma, tuple(norm.gamma.shape))
        tensors[f"{name}.bias"] = CheckpointTensor(norm.beta, tuple(norm.beta.shape))

    def add_dense(name: str, dense: DenseWeights, input_axes: int = 1) -> None:
        axes = tuple(dense.kernel.shape)
        shape = (math.prod(axes[input_axes:]), math.prod(axes[:input_axes]))
        tensors[f"{name}.weight"] = CheckpointTensor(dense.kernel, shape, is_transposed=True)
        tensors[f"{name}.bias"] = CheckpointTensor(dense.bias, (math.prod(dense.bias.shape),))

    embeddings = garden_adapter.read_embeddings(network)
    add_table("word_embeddings", embeddings.words)
    add_table("position_embeddings", embeddings.positions)
    add_table("token_type_embeddings", embeddings.types)
    add_layer_norm("embeddings.LayerNorm", embeddings.norm)
    for i, layer in enumerate(network.transformer_layers):
        prefix, block = f"encoder.layer.{i}", garden_adapter.read_block(layer)
        add_dense(f"{prefix}.attention.self.query", block.query)
        add_dense(f"{prefix}.attention.self.key", block.key)
        add_dense(f"{prefix}.attention.self.value", block.value)
        add_dense(f"{prefix}.attention.output.dense", block.attention_output, input_axes=2)
        add_layer_norm(f"{prefix}.attention.output.LayerNorm", block.attention_norm)
        add_dense(f"{prefix}.intermediate.dense", block.intermediate)
        add_dense(f"{prefix}.output.dense", block.output)
        add_layer_norm(f"{prefix}.output.LayerNorm", block.output_norm)
    add_dense("pooler.dense", garden_adapter.read_pooler(network))
    return tensors
