"""Explainers of a release, and of a checkpoint's classifier."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components.artifacts.artifact import Artifact
from components.artifacts.release import ReleaseContent
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.vocabulary import Vocabulary
from components.config.model import CUT, LongTexts
from components.errors import UsageError
from components.explain.classifier_graph import find_classifier, find_served_graphs
from components.explain.explainer import Explainer, Floats
from components.explain.function_body import read_function
from components.explain.graph_model import GraphModel, ServedTokenizer
from components.explain.words import TokenizedText
from components.model.heads import compute_scores as compute_task_scores
from components.model.serving_model import SIGNATURE_NAME, create_scorer, load_saved_model
from components.model.text_windows import list_token_pieces
from components.model.tokenizer import WordPiece

_UNLIMITED_TOKENS = 2**30


def load_explainer(release: Artifact[ReleaseContent]) -> Explainer:
    """The explainer of a verified release: tokenizer, weights and scores of its own SavedModel.

    DataError if its graph is not one that kubert exports, or may not be loaded; UsageError for a
    model of pairs of texts.
    """
    if release.content.takes_pairs:
        raise UsageError(
            f"the release takes pairs of {' and '.join(release.content.inputs)}; explanations are "
            "of single texts: use `kubert predict` for its labels and scores"
        )
    content, kind = release.content, release.content.task.kind
    loaded = load_saved_model(release.directory, kind=kind, classes=len(content.classes))
    function = read_function(loaded.signatures[SIGNATURE_NAME])
    tokenizer, classifier = find_served_graphs(function, kind)
    length, reading = content.max_length, content.long_texts
    return Explainer(
        model=GraphModel(classifier, length if reading.has_windows else None, kind),
        tokenize=ServedTokenizer(tokenizer, length, reading),
        score=create_scorer(loaded, kind=kind),
        classes=content.classes,
        threshold=content.threshold,
        task=content.task,
        thresholds=content.thresholds,
    )


def explain_classifier(
    classifier: Callable[..., Any],
    vocabulary: Vocabulary,
    classes: Sequence[str],
    max_length: int,
    reading: LongTexts = CUT,
    task: TaskInfo = SINGLE_LABEL,
    thresholds: Sequence[float] = (),
) -> Explainer:
    """The explainer of a classifier in memory: {"input_word_ids": ids} -> logits."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def compute_scores(ids: Any) -> Any:
        return compute_task_scores(classifier({"input_word_ids": ids}, training=False), task)

    tokenize = VocabularyTokenizer(vocabulary, max_length, reading)

    def score(texts: Sequence[str]) -> Floats:
        rows = [compute_scores(row.ids[np.newaxis]).numpy() for row in tokenize(texts)]
        return np.concatenate(rows)

    graph = find_classifier(read_function(compute_scores.get_concrete_function()), task.kind)
    return Explainer(
        GraphModel(graph, max_length if reading.has_windows else None, task.kind),
        tokenize,
        score,
        classes,
        task=task,
        thresholds=tuple(thresholds),
    )


class VocabularyTokenizer:
    """The tokenizer of a vocabulary, as the data was tokenized with it."""

    def __init__(self, vocabulary: Vocabulary, max_length: int, reading: LongTexts = CUT) -> None:
        self._tokenizer = WordPiece(vocabulary)
        self._vocabulary = vocabulary
        self._max_length, self._reading = max_length, reading

    def __call__(self, texts: Sequence[str]) -> list[TokenizedText]:
        """The pieces of each text, all of them, and the ids that are read of it."""
        encoded = [text.encode("utf-8", "replace").decode() for text in texts]
        ids, splits = self._tokenizer.tokenize_flat(encoded, _UNLIMITED_TOKENS)
        rows = []
        for start, end in itertools.pairwise(splits):
            row = ids[start:end]
            numbers = list_token_pieces(len(row) - 2, self._max_length, self._reading)
            read, special = row[numbers + 1], np.flatnonzero(numbers < 0)
            read[special[::2]], read[special[1::2]] = row[0], row[-1]
            rows.append(
                TokenizedText(
                    pieces=tuple(self._vocabulary.tokens[piece] for piece in row[1:-1]),
                    piece_ids=tuple(int(piece) for piece in row[1:-1]),
                    ids=np.asarray(read, np.int32),
                    padding=self._vocabulary.pad_id,
                    numbers=numbers,
                )
            )
        return rows
