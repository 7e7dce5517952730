"""A classifier that can be asked for scores, gradients and attention, from its own graph."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.explain.classifier_graph import ClassifierGraph, TokenizerGraph
from components.explain.words import TokenizedText

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


class GraphModel:
    """The classifier in a graph; the weights are those that the graph's function captured.

    Token ids are int32 [texts, tokens]. Of a sealed encoder, whose graph is called as a whole, only
    logits are available.
    """

    def __init__(self, graph: ClassifierGraph) -> None:
        self.is_sealed = graph.embeddings is None
        ids = tf.TensorSpec([None, None], tf.int32)
        embeddings = tf.TensorSpec([None, None, None], tf.float32)
        target = tf.TensorSpec([], tf.int32)
        body = graph.body

        @tf.function(autograph=False, input_signature=[ids])
        def compute_logits(ids: Any) -> Any:
            return body.run({graph.ids: ids}, [graph.logits])[0]

        @tf.function(autograph=False, input_signature=[ids])
        def embed(ids: Any) -> Any:
            return body.run({graph.ids: ids}, [graph.embeddings or ""])[0]

        @tf.function(autograph=False, input_signature=[ids])
        def attend(ids: Any) -> Any:
            return body.run({graph.ids: ids}, graph.attention)

        @tf.function(autograph=False, input_signature=[ids, embeddings, target])
        def differentiate(ids: Any, embeddings: Any, target: Any) -> Any:
            feeds = {graph.ids: ids, graph.embeddings or "": embeddings}
            logits = body.run(feeds, [graph.logits])[0]
            evidence = _log_odds(logits, target)
            return evidence, tf.gradients(evidence, embeddings)[0]

        self._compute_logits, self._embed = compute_logits, embed
        self._attend, self._differentiate = attend, differentiate

    def compute_logits(self, ids: Ids) -> Floats:
        """Logits: float32 [texts, classes]."""
        return self._numpy(self._compute_logits(tf.constant(ids)))

    def embed(self, ids: Ids) -> Floats:
        """What the word pieces are looked up as: float32 [texts, tokens, width]."""
        return self._numpy(self._embed(tf.constant(ids)))

    def differentiate(self, ids: Ids, embeddings: Floats, target: int) -> tuple[Floats, Floats]:
        """The log-odds of a class with these embeddings, [texts], and their gradient."""
        evidence, gradient = self._differentiate(
            tf.constant(ids), tf.constant(embeddings), tf.constant(target, tf.int32)
        )
        return self._numpy(evidence), self._numpy(gradient)

    def attend(self, ids: Ids) -> list[Floats]:
        """The attention of each layer: float32 [texts, heads, queries, tokens].

        The last layer may have only the first token's query, where the others decide nothing.
        """
        return [self._numpy(layer) for layer in self._attend(tf.constant(ids))]

    @staticmethod
    def _numpy(tensor: Any) -> Floats:
        values: Floats = tensor.numpy()
        return values


class ServedTokenizer:
    """The tokenizer of a release: texts -> word pieces."""

    def __init__(self, graph: TokenizerGraph) -> None:
        fetches = (graph.pieces, graph.ids, graph.row_splits, graph.padding, graph.padded)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
        def tokenize(texts: Any) -> Any:
            return graph.body.run({graph.text: texts}, fetches)

        self._tokenize = tokenize

    def __call__(self, texts: Sequence[str]) -> list[TokenizedText]:
        """The pieces of each text, all of them, and the ids that are read of it."""
        encoded = tf.constant([text.encode("utf-8", "replace") for text in texts], tf.string)
        pieces, ids, splits, padding, padded = (
            tensor.numpy() for tensor in self._tokenize(encoded)
        )
        rows = []
        for number, (start, end) in enumerate(itertools.pairwise(splits)):
            length = min(int(end - start) + 2, padded.shape[1])
            rows.append(
                TokenizedText(
                    pieces=tuple(piece.decode() for piece in pieces[start:end]),
                    piece_ids=tuple(int(each) for each in ids[start:end]),
                    ids=padded[number, :length].astype(np.int32),
                    padding=int(padding),
                )
            )
        return rows


def _log_odds(logits: Any, target: Any) -> Any:
    """log(p / (1 - p)) of the target's score p: float32 [texts]."""
    is_target = tf.equal(tf.range(tf.shape(logits)[1]), target)[tf.newaxis]
    others = tf.where(is_target, tf.constant(-np.inf, tf.float32), logits)
    return logits[:, target] - tf.reduce_logsumexp(others, axis=1)
