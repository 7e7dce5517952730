"""The models that score a unit: a checkpoint on token ids, a release on texts.

TensorFlow computes each operation in one thread, and several batches side by side: how it splits an
operation among threads may change the last bits of a result, which must not depend on the cores of
a machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent
from components.artifacts.release import ReleaseContent
from components.data.text_columns import Text
from components.model.heads import compute_scores
from components.model.restore import load_classifier
from components.model.serving_model import load_embedder, load_scorer
from components.model.text_windows import count_row_windows, count_windows

Values = npt.NDArray[np.float32]
Lengths = npt.NDArray[np.int64]


class BatchComputer(Protocol):
    """Computes values of rows; `width` is their number per row, `digest` the model's."""

    width: int
    digest: str

    def count_windows(self, lengths: Lengths) -> Lengths:
        """The windows of rows of these lengths, at most."""

    def compute(self, batch: Any) -> Values:
        """Values of the rows of a batch: float32 [rows, width]."""


class CheckpointScorer:
    """Scores of token ids (`compute_scores`), computed in float32 by a checkpoint's classifier."""

    def __init__(self, checkpoint: Artifact[CheckpointContent]) -> None:
        self.digest = checkpoint.digest
        classifier, content, _ = load_classifier(checkpoint)
        self.width = content.task.count_outputs(len(content.classes))
        self._max_length = content.model.max_length

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
        def score(ids: Any) -> Any:
            return compute_scores(classifier({"input_word_ids": ids}, training=False), content.task)

        self._score = score

    def count_windows(self, lengths: Lengths) -> Lengths:
        """The windows of rows of so many tokens."""
        windows: Lengths = count_row_windows(lengths, self._max_length)
        return windows

    def compute(self, batch: npt.NDArray[np.int32]) -> Values:
        """Scores of padded token ids [rows, tokens]."""
        scores: Values = self._score(batch).numpy()
        return scores


class ReleaseScorer:
    """Class probabilities or numbers, or embeddings, of texts by a release's SavedModel."""

    def __init__(self, release: Artifact[ReleaseContent], output: str) -> None:
        self.digest = release.digest
        directory, content = release.directory, release.content
        scorer = (
            load_embedder(directory, content.inputs)
            if output == "embeddings"
            else load_scorer(directory, content.inputs, content.task.kind, len(content.classes))
        )
        self._compute = scorer.compute_batch
        self.width = self.compute([]).shape[1]
        self._max_length, self._reading = release.content.max_length, release.content.long_texts

    def count_windows(self, lengths: Lengths) -> Lengths:
        """The windows of texts of so many characters, at most: a piece has one at least."""
        if not self._reading.has_windows:
            return np.ones_like(lengths)
        windows: Lengths = count_windows(lengths, self._max_length, self._reading)
        return windows

    def compute(self, batch: Sequence[Text]) -> Values:
        """Scores, or embeddings, of the texts or pairs."""
        return self._compute(batch)


def set_thread_counts(threads: int) -> None:
    """Let TensorFlow run up to `threads` operations side by side, each in one thread.

    Call it before anything else uses TensorFlow: a process that has started it keeps its threads.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        return
