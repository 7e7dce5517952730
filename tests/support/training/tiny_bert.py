"""A tiny BERT checkpoint in Hugging Face's layout, the same on every machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from benchmarks.models import bert_layout

CONFIG: dict[str, Any] = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-6,
    "position_embedding_type": "absolute",
    "pad_token_id": 0,
}
PIECES = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    "##a",
    "##b",
    "##c",
    "##d",
    "the",
    "cat",
    "##s",
    "é",
    ".",
)


def tensors(prefix: str = "bert.", pooler: bool = True, seed: int = 7) -> dict[str, np.ndarray]:
    """Name -> float32 weights, large enough that a swapped or transposed matrix shows."""
    random = np.random.RandomState(seed)  # Its stream never changes; a Generator's may.
    values = {
        f"{prefix}{name}": (random.standard_normal(shape) * 0.3).astype(np.float32)
        for name, shape in bert_layout.tensor_shapes(CONFIG, pooler).items()
    }
    return {
        name: value + np.float32(1) if name.endswith("LayerNorm.weight") else value
        for name, value in values.items()
    }


def write(directory: Path, weights: Mapping[str, np.ndarray] | None = None, **config: Any) -> Path:
    """Write the checkpoint into the directory, with the fields `config` in its config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**CONFIG, **config}), encoding="utf-8")
    (directory / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in PIECES[: CONFIG["vocab_size"]]), encoding="utf-8"
    )
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True}), encoding="utf-8"
    )
    save_file(dict(tensors() if weights is None else weights), directory / "model.safetensors")
    return directory
