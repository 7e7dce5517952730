"""Loads the sizes and weights of a Hugging Face BERT into Model Garden's encoders."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

_NAMES = (
    (r"word_embeddings/embeddings", r"embeddings.word_embeddings.weight"),
    (r"position_embedding/embeddings", r"embeddings.position_embeddings.weight"),
    (r"type_embeddings/embeddings", r"embeddings.token_type_embeddings.weight"),
    (r"embeddings/layer_norm/(\w+)", r"embeddings.LayerNorm.\1"),
    (
        r"transformer/layer_(\d+)/self_attention/(query|key|value)/(\w+)",
        r"encoder.layer.\1.attention.self.\2.\3",
    ),
    (
        r"transformer/layer_(\d+)/self_attention/attention_output/(\w+)",
        r"encoder.layer.\1.attention.output.dense.\2",
    ),
    (
        r"transformer/layer_(\d+)/self_attention_layer_norm/(\w+)",
        r"encoder.layer.\1.attention.output.LayerNorm.\2",
    ),
    (r"transformer/layer_(\d+)/intermediate/(\w+)", r"encoder.layer.\1.intermediate.dense.\2"),
    (r"transformer/layer_(\d+)/output/(\w+)", r"encoder.layer.\1.output.dense.\2"),
    (r"transformer/layer_(\d+)/output_layer_norm/(\w+)", r"encoder.layer.\1.output.LayerNorm.\2"),
    (r"pooler_transform/(\w+)", r"pooler.dense.\1"),
)
_PARTS = {"kernel": "weight", "gamma": "weight", "beta": "bias"}


def read_sizes(directory: Path) -> dict[str, int]:
    """The sizes in config.json under the names of `BertEncoder` and `BertEncoderV2`."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return {
        "vocab_size": config["vocab_size"],
        "hidden_size": config["hidden_size"],
        "num_layers": config["num_hidden_layers"],
        "num_attention_heads": config["num_attention_heads"],
        "max_sequence_length": config["max_position_embeddings"],
        "type_vocab_size": config["type_vocab_size"],
        "inner_dim": config["intermediate_size"],
    }


def load_weights(encoder: Any, directory: Path) -> None:
    """Assign every variable from model.safetensors; KeyError names one that is missing."""
    tensors = load_file(directory / "model.safetensors")
    for variable in encoder.variables:
        name = hugging_face_name(variable.name)
        value = tensors[name]
        variable.assign(
            (value.T if variable.name.endswith("kernel:0") else value).reshape(variable.shape)
        )


def hugging_face_name(variable: str) -> str:
    """The Hugging Face tensor name of a variable of Model Garden's encoders."""
    for pattern, name in _NAMES:
        if found := re.search(f"(?:^|/){pattern}:0$", variable):
            stem, _, part = found.expand(name).rpartition(".")
            return f"{stem}.{_PARTS.get(part, part)}"
    raise KeyError(variable)
