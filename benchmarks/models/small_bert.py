"""Untrained BERTs in Hugging Face's layout that every contender can load; a small one by default.

Their vocabulary is MiniLM's, which is BERT's own (uncased, 30,522 pieces).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from benchmarks.models import bert_layout
from components.model.encoders import hugging_face
from components.model.encoders.checkpoint import tokenizer_files

if TYPE_CHECKING:
    from official.nlp.modeling.networks import BertEncoderV2

DEVIATION = 0.02
SIZES: dict[str, int] = {
    "vocab_size": 30_522,
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
"""4 layers, 128 wide."""
BERT_BASE = SIZES | {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
TINY = SIZES | {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64}
"""For tests."""
_OPTIONS = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": DEVIATION,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}


def write_untrained(directory: Path, seed: int = 1, sizes: Mapping[str, int] = SIZES) -> Path:
    """Write an untrained BERT: two JSON files, vocab.txt and model.safetensors."""
    return _write_files(directory, sizes, _random_tensors(seed, sizes))


def write_trained(network: BertEncoderV2, directory: Path) -> Path:
    """Write the BERT with the current weights of `network`, loaded from such a directory."""
    from components.model.encoders.checkpoint import bert_weights

    tensors = bert_weights.map_checkpoint_tensors(network)
    values = {name: tensor.to_checkpoint() for name, tensor in tensors.items()}
    return _write_files(directory, SIZES, values)


def _write_files(
    directory: Path, sizes: Mapping[str, int], tensors: Mapping[str, np.ndarray]
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = tokenizer_files.read_vocabulary(hugging_face.locate_checkpoint("minilm"))
    (directory / "config.json").write_text(json.dumps({**sizes, **_OPTIONS}), encoding="utf-8")
    (directory / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in vocabulary.tokens), encoding="utf-8"
    )
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True}), encoding="utf-8"
    )
    save_file(dict(tensors), directory / "model.safetensors")
    return directory


def _random_tensors(seed: int, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """BERT's initial weights: normal with deviation 0.02, biases 0, layer norms 1."""
    random = np.random.default_rng(seed)
    return {
        name: _initial_value(name, shape, random)
        for name, shape in bert_layout.tensor_shapes(sizes).items()
    }


def _initial_value(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    if name.endswith("LayerNorm.weight"):
        return np.ones(shape, np.float32)
    return (random.standard_normal(shape) * DEVIATION).astype(np.float32)
