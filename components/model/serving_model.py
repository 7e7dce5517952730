"""The exported model: texts in, class probabilities out, with the tokenizer in the graph.

The SavedModel is self-contained: weights and vocabulary are part of it, and it reads no other
file. Its operations are checked against an allowlist before it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import Precision
from components.errors import DataError
from components.model.graph_allowlist import check_operations
from components.model.length_chunking import length_chunked
from components.model.tokenizer import WordPiece

SIGNATURE_NAME = "serving_default"
INPUT_NAME = "text"
OUTPUT_NAMES = ("label", "label_index", "scores")
DEFAULT_BATCH_SIZE = 64


class TokenClassifier(Protocol):
    """What a served model needs of a classifier; `components.model.classifier` has the real one."""

    def __call__(self, inputs: Mapping[str, tf.Tensor], *, training: bool) -> tf.Tensor:
        """{"input_word_ids": int32 [batch, tokens]} -> logits [batch, classes]."""

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """Freeze the weights, with matrix products in `dtype`; ConfigError if that cannot be."""


class ServingModel(tf.Module):
    """Texts -> label, label_index and scores.

    Only the weights that answers depend on are tracked, not the Keras objects, whose training
    functions do not belong into a served graph. The classifier cannot be trained any more, and
    computes its matrix products in `precision` from now on; ConfigError if it cannot.
    """

    def __init__(
        self,
        classifier: TokenClassifier,
        vocabulary: Vocabulary,
        classes: Sequence[str],
        max_length: int,
        precision: Precision = "float32",
    ) -> None:
        super().__init__(name="served_classifier")
        classifier.fuse_weights_for_serving(tf.as_dtype(precision))
        self._tokenizer = WordPiece(vocabulary)
        self._names = tf.constant(list(classes))

        def compute_scores(ids: tf.Tensor) -> tf.Tensor:
            logits = classifier({"input_word_ids": ids}, training=False)
            return tf.nn.softmax(tf.cast(logits, tf.float32))

        compute_ragged_scores = length_chunked(compute_scores, vocabulary.pad_id)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=INPUT_NAME)])
        def classify(text: tf.Tensor) -> dict[str, tf.Tensor]:
            scores = compute_ragged_scores(self._tokenizer(text, max_length))
            index = tf.argmax(scores, axis=1, output_type=tf.int32)
            return {"label": tf.gather(self._names, index), "label_index": index, "scores": scores}

        self.classify = classify
        self._weights = classify.get_concrete_function().variables


def save_serving_model(served: ServingModel, directory: Path) -> None:
    """Write the SavedModel, and check that it can be loaded again."""
    tf.saved_model.save(served, str(directory), signatures={SIGNATURE_NAME: served.classify})
    check_operations(directory)


@dataclass(frozen=True)
class Scorer:
    """A loaded release: texts -> scores, float32 [n, classes], in the texts' order."""

    signature: Callable[..., dict[str, Any]]

    def __call__(
        self,
        texts: Sequence[str],
        batch_size: int = DEFAULT_BATCH_SIZE,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Scores of the texts, batched by length.

        `on_progress(done, total)` is called in texts after each batch.
        """
        order = np.argsort([-len(text) for text in texts], kind="stable")
        parts = []
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            # Lone surrogates become replacement characters: no request can hold them either.
            encoded = [texts[row].encode("utf-8", "replace") for row in part]
            parts.append(
                self.signature(**{INPUT_NAME: tf.constant(encoded, tf.string)})["scores"].numpy()
            )
            if on_progress is not None:
                on_progress(start + len(part), len(order))
        if not parts:
            empty = self.signature(**{INPUT_NAME: tf.constant([], tf.string)})["scores"]
            return np.zeros((0, int(empty.shape[1])), np.float32)
        scores = np.concatenate(parts)
        restored = np.empty_like(scores)
        restored[order] = scores
        return restored


def load_scorer(directory: Path) -> Scorer:
    """The model in a release's directory, after its operations were checked.

    Raises DataError if it is not a SavedModel, has an operation that is not allowed, or another
    signature than kubert's. The caller verifies the files' digests first.
    """
    check_operations(directory)
    try:
        loaded = tf.saved_model.load(str(directory))
    except Exception as error:
        raise DataError(
            f"{directory}: TensorFlow cannot load this model ({_first_line(error)}); "
            "export or pull it again"
        ) from None
    signature = loaded.signatures.get(SIGNATURE_NAME) if hasattr(loaded.signatures, "get") else None
    if (
        signature is None
        or set(signature.structured_input_signature[1]) != {INPUT_NAME}
        or set(signature.structured_outputs) != set(OUTPUT_NAMES)
    ):
        raise DataError(
            f"{directory}: has no signature {SIGNATURE_NAME} from {INPUT_NAME} to "
            f"{', '.join(OUTPUT_NAMES)}; it was not exported by kubert"
        )
    return Scorer(_keep_alive(loaded, signature))


def _keep_alive(loaded: Any, signature: Any) -> Callable[..., dict[str, Any]]:
    """The signature as a function that keeps the loaded object, which owns the weights, alive."""

    def call(**inputs: Any) -> dict[str, Any]:
        assert loaded is not None
        result: dict[str, Any] = signature(**inputs)
        return result

    return call


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
