"""Attention between words: weights of word pieces put together, layers and heads selected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from components.errors import UsageError
from components.explain.options import AttentionChoice

Floats = npt.NDArray[np.float32]
ATTENDED = 3


@dataclass(frozen=True)
class WordAttention:
    """The attention of one head, or the mean of a layer's heads (head None), between tokens.

    weights: float32 [queries, tokens]; each row sums to 1. Tokens are [CLS], the words, and [SEP].
    There is one query, that of [CLS], in a last layer of which nothing else is used.
    """

    layer: int
    head: int | None
    weights: Floats

    @property
    def name(self) -> str:
        """Such as "layer 2, head 1"."""
        head = "mean of the heads" if self.head is None else f"head {self.head}"
        return f"layer {self.layer}, {head}"

    def list_attended(self, tokens: Sequence[str]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """Each query, and the tokens with the largest weights: at most ATTENDED, largest first."""
        for query, row in zip(tokens, self.weights, strict=False):
            order = np.argsort(-row, kind="stable")[:ATTENDED]
            yield query, [(tokens[number], float(row[number])) for number in order]


def select_attention(
    layers: Sequence[Floats], choice: AttentionChoice, words: Sequence[tuple[int, int]]
) -> tuple[WordAttention, ...]:
    """The chosen attention between words: of each layer [heads, queries, tokens], one text's.

    words: token ranges [first, last). UsageError for a layer or head that the model does not have.
    """
    groups = [(0, 1), *words, (layers[0].shape[2] - 1, layers[0].shape[2])] if layers else []
    found = []
    for number in _choose_layers(len(layers), choice):
        layer = layers[number - 1]
        for head, weights in _choose_heads(layer, choice.heads, number):
            found.append(WordAttention(number, head, merge_pieces(weights, groups)))
    return tuple(found)


def merge_pieces(weights: Floats, groups: Sequence[tuple[int, int]]) -> Floats:
    """Weights [queries, tokens] between groups of neighbouring tokens (Clark et al. 2019).

    The attention to a word is the sum over its pieces, that from a word the mean over them.
    """
    starts = [first for first, _ in groups]
    columns = np.add.reduceat(weights, starts, axis=1)
    if len(weights) == 1:
        return columns
    sizes = np.array([[last - first] for first, last in groups], np.float32)
    merged: Floats = np.divide(np.add.reduceat(columns, starts, axis=0), sizes)
    return merged


def _choose_layers(count: int, choice: AttentionChoice) -> Sequence[int]:
    if choice.layers == "last":
        return range(count, count + 1) if count else ()
    if choice.layers == "all":
        return range(1, count + 1)
    for number in choice.layers:
        if not 1 <= number <= count:
            raise UsageError(f"layers={number}: the model has {_name_range('layer', count)}")
    return choice.layers


def _choose_heads(
    layer: Floats, heads: tuple[int, ...] | Literal["mean", "all"], number: int
) -> Iterator[tuple[int | None, Floats]]:
    if heads == "mean":
        yield None, layer.mean(axis=0)
        return
    for head in range(1, len(layer) + 1) if heads == "all" else heads:
        if not 1 <= head <= len(layer):
            raise UsageError(f"heads={head}: layer {number} has {_name_range('head', len(layer))}")
        yield head, layer[head - 1]


def _name_range(name: str, count: int) -> str:
    return f"the {name}s 1 to {count}" if count > 1 else f"{count or 'no'} {name}"
