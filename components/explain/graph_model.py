"""A classifier that can be asked for scores, gradients and attention, from its own graph."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.config.model import CUT, LongTexts
from components.config.task import TaskKind
from components.explain.classifier_graph import ClassifierGraph, TokenizerGraph
from components.explain.words import TokenizedText
from components.model.text_windows import list_token_pieces

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


class GraphModel:
    """The classifier in a graph; the weights are those that the graph's function captured.

    Token ids are int32 [texts, tokens]; with `window_tokens`, longer rows are windows of so many
    tokens, of which all texts of a call have as many. Of a sealed encoder, whose graph is called as
    a whole, only logits are available.
    """

    def __init__(
        self,
        graph: ClassifierGraph,
        window_tokens: int | None = None,
        kind: TaskKind = "single_label",
    ) -> None:
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
            rows = body.run({graph.ids: ids}, [graph.embeddings or ""])[0]
            return tf.reshape(rows, tf.concat([tf.shape(ids), tf.shape(rows)[2:]], axis=0))

        @tf.function(autograph=False, input_signature=[ids])
        def attend(ids: Any) -> Any:
            return body.run({graph.ids: ids}, graph.attention)

        @tf.function(autograph=False, input_signature=[ids, embeddings, target])
        def differentiate(ids: Any, embeddings: Any, target: Any) -> Any:
            rows = embeddings
            if window_tokens is not None:
                size = tf.minimum(tf.shape(ids)[1], window_tokens)
                rows = tf.reshape(rows, tf.stack([-1, size, tf.shape(rows)[2]]))
            feeds = {graph.ids: ids, graph.embeddings or "": rows}
            logits = body.run(feeds, [graph.logits])[0]
            evidence = _log_odds(logits, target) if kind == "single_label" else logits[:, target]
            return evidence, tf.gradients(evidence, embeddings)[0]

        self._compute_logits, self._embed = compute_logits, embed
        self._attend, self._differentiate = attend, differentiate

    def compute_logits(self, ids: Ids) -> Floats:
        """Logits: float32 [texts, classes]; of a regression the numbers, [texts, 1]."""
        return self._numpy(self._compute_logits(tf.constant(ids)))

    def embed(self, ids: Ids) -> Floats:
        """What the word pieces are looked up as: float32 [texts, tokens, width]."""
        return self._numpy(self._embed(tf.constant(ids)))

    def differentiate(self, ids: Ids, embeddings: Floats, target: int) -> tuple[Floats, Floats]:
        """The evidence for a class with these embeddings, [texts], and its gradient.

        It is the log-odds of the class, or the number of a regression.
        """
        evidence, gradient = self._differentiate(
            tf.constant(ids), tf.constant(embeddings), tf.constant(target, tf.int32)
        )
        return self._numpy(evidence), self._numpy(gradient)

    def attend(self, ids: Ids) -> list[Floats]:
        """The attention of each layer: float32 [texts, heads, queries, tokens], of windows as rows.

        The last layer may have only the first token's query, where the others decide nothing.
        """
        return [self._numpy(layer) for layer in self._attend(tf.constant(ids))]

    @staticmethod
    def _numpy(tensor: Any) -> Floats:
        values: Floats = tensor.numpy()
        return values


class ServedTokenizer:
    """The tokenizer of a release: texts -> word pieces.

    `max_length` and `reading` are the release's.
    """

    def __init__(self, graph: TokenizerGraph, max_length: int, reading: LongTexts = CUT) -> None:
        self._max_length, self._reading = max_length, reading
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
            numbers = list_token_pieces(int(end - start), self._max_length, self._reading)
            rows.append(
                TokenizedText(
                    pieces=tuple(piece.decode() for piece in pieces[start:end]),
                    piece_ids=tuple(int(each) for each in ids[start:end]),
                    ids=padded[number, : len(numbers)].astype(np.int32),
                    padding=int(padding),
                    numbers=numbers,
                )
            )
        return rows


def _log_odds(logits: Any, target: Any) -> Any:
    """log(p / (1 - p)) of the target's score p: float32 [texts]."""
    is_target = tf.equal(tf.range(tf.shape(logits)[1]), target)[tf.newaxis]
    others = tf.where(is_target, tf.constant(-np.inf, tf.float32), logits)
    return logits[:, target] - tf.reduce_logsumexp(others, axis=1)
