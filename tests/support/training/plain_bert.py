"""The tiny BERT in NumPy, float64, written from the paper and Hugging Face's names of weights."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tests.support.training import tiny_bert

Floats = npt.NDArray[np.float64]


def compute_attentions(ids: npt.NDArray[np.int32]) -> list[Floats]:
    """The attention of each layer: [texts, heads, queries, tokens]; id 0 is padding."""
    weights = {
        name.removeprefix("bert."): value.astype(np.float64)
        for name, value in tiny_bert.tensors().items()
    }
    tables = {name: weights[f"embeddings.{name}_embeddings.weight"] for name in _TABLES}
    positions = tables["position"][: ids.shape[1]]
    hidden = tables["word"][ids] + positions + tables["token_type"][0]
    hidden = _normalize(hidden, weights, "embeddings.LayerNorm")
    attentions = []
    for number in range(tiny_bert.CONFIG["num_hidden_layers"]):
        prefix = f"encoder.layer.{number}."
        layer = {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
        hidden, attention = _run_layer(hidden, ids != 0, layer)
        attentions.append(attention)
    return attentions


_TABLES = ("word", "position", "token_type")


def _run_layer(
    x: Floats, mask: npt.NDArray[np.bool_], weights: dict[str, Floats]
) -> tuple[Floats, Floats]:
    texts, tokens, width = x.shape
    heads = tiny_bert.CONFIG["num_attention_heads"]
    query, key, value = (
        _apply(x, weights, f"attention.self.{name}").reshape(texts, tokens, heads, -1)
        for name in ("query", "key", "value")
    )
    scores = np.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(width // heads)
    scores = np.where(mask[:, np.newaxis, np.newaxis], scores, -np.inf)
    attention = np.exp(scores - scores.max(axis=-1, keepdims=True))
    attention /= attention.sum(axis=-1, keepdims=True)
    context = np.einsum("bhqk,bkhd->bqhd", attention, value).reshape(x.shape)
    x = x + _apply(context, weights, "attention.output.dense")
    x = _normalize(x, weights, "attention.output.LayerNorm")
    inner = _apply(x, weights, "intermediate.dense")
    inner = inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) / 2
    x = _normalize(x + _apply(inner, weights, "output.dense"), weights, "output.LayerNorm")
    return x, attention


def _apply(x: Floats, weights: dict[str, Floats], name: str) -> Floats:
    product: Floats = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return product


def _normalize(x: Floats, weights: dict[str, Floats], name: str) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    normal: Floats = centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return normal
