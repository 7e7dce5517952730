"""The exported model: texts in, labels or numbers out, with the tokenizer in the graph.

The outputs of the signature depend on the kind of task: `OUTPUTS`. A model of pairs has two inputs,
named as its release says: the order of a pair is not in the graph.

A second signature gives the encoder's vectors instead, from which the classes are computed.

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

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.vocabulary import Vocabulary
from components.config.data import SINGLE_INPUT
from components.config.model import CUT, LongTexts
from components.config.schema import Precision
from components.config.task import TaskKind
from components.data.text_columns import Text, count_characters, flatten_texts
from components.errors import DataError
from components.model.graph_allowlist import check_operations
from components.model.heads import compute_scores as compute_task_scores
from components.model.length_chunking import length_chunked
from components.model.tokenizer import WordPiece

SIGNATURE_NAME = "serving_default"
OUTPUT_NAMES = ("label", "label_index", "scores")
"""The outputs of a model that gives each text one label."""
OUTPUTS: Mapping[TaskKind, tuple[str, ...]] = {
    "single_label": OUTPUT_NAMES,
    "multi_label": ("labels", "is_predicted", "scores"),
    "regression": ("value",),
}
"""The outputs of the signature by kind of task.

labels: string [n, classes], the class's name where it is predicted, else empty. is_predicted: bool
[n, classes], whether the score reaches the class's threshold. value: float32 [n]."""
SCORES_OUTPUTS: Mapping[TaskKind, str] = {
    "single_label": "scores",
    "multi_label": "scores",
    "regression": "value",
}
"""The output that has what the model computed of a text."""
CONFIDENT_OUTPUT = "is_confident"
"""Also an output of a model with a threshold: whether the largest score reaches it."""
INPUT_NAME = SINGLE_INPUT[0]
"""The input of a model of single texts."""
EMBED_SIGNATURE_NAME = "embed"
EMBEDDING_OUTPUT = "embedding"
DEFAULT_BATCH_SIZE = 64


class TokenClassifier(Protocol):
    """What a served model needs of a classifier; `components.model.classifier` has the real one."""

    def __call__(self, inputs: Mapping[str, tf.Tensor], *, training: bool) -> tf.Tensor:
        """{"input_word_ids": int32 [batch, tokens]} -> logits [batch, classes]."""

    def features(self, inputs: Mapping[str, tf.Tensor], *, training: bool) -> tf.Tensor:
        """The same inputs -> the vector of each text that the logits are computed from."""

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """Freeze the weights, with matrix products in `dtype`; ConfigError if that cannot be."""


class ServingModel(tf.Module):
    """Texts -> the outputs of the kind of `task` (`classify`), or embeddings (`embed`).

    `inputs` are the names of the signatures' inputs: one, or two for pairs of texts. With a
    `threshold`, is_confident says whether the largest score reaches it. A `temperature` divides the
    logits. `long_texts` says what is read of texts longer than `max_length`, as the classifier was
    trained with it. `thresholds` are those of several labels, one for each class.

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
        threshold: float | None = None,
        temperature: float | None = None,
        inputs: Sequence[str] = SINGLE_INPUT,
        long_texts: LongTexts = CUT,
        task: TaskInfo = SINGLE_LABEL,
        thresholds: Sequence[float] = (),
    ) -> None:
        super().__init__(name="served_classifier")
        classifier.fuse_weights_for_serving(tf.as_dtype(precision))
        self._tokenizer = WordPiece(vocabulary)
        self._names = tf.constant(list(classes), tf.string)

        def compute_scores(ids: tf.Tensor) -> tf.Tensor:
            logits = classifier({"input_word_ids": ids}, training=False)
            return compute_task_scores(scale_logits(logits, temperature), task)

        def tokenize(text: tf.Tensor, second: tf.Tensor | None = None) -> tf.RaggedTensor:
            if second is not None:
                return self._tokenizer.tokenize_pairs(text, second, max_length)
            return self._tokenizer(text, max_length, long_texts)

        compute_ragged_scores = length_chunked(compute_scores, vocabulary.pad_id)
        signature = [tf.TensorSpec([None], tf.string, name=name) for name in inputs]

        @tf.function(input_signature=signature)
        def classify(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
            scores = compute_ragged_scores(tokenize(*texts))
            if task.kind == "regression":
                return {"value": scores[:, 0]}
            if task.kind == "multi_label":
                return _give_labels(scores, self._names, thresholds)
            return _give_label(scores, self._names, threshold)

        def compute_features(ids: tf.Tensor) -> tf.Tensor:
            return tf.cast(classifier.features({"input_word_ids": ids}, training=False), tf.float32)

        compute_ragged_features = length_chunked(compute_features, vocabulary.pad_id)

        @tf.function(input_signature=signature)
        def embed(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
            return {EMBEDDING_OUTPUT: compute_ragged_features(tokenize(*texts))}

        self.classify, self.embed = classify, embed
        self._weights = classify.get_concrete_function().variables


def _give_label(
    scores: tf.Tensor, names: tf.Tensor, threshold: float | None
) -> dict[str, tf.Tensor]:
    """The outputs of a model that gives each text one label."""
    index = tf.argmax(scores, axis=1, output_type=tf.int32)
    label = tf.gather(names, index)
    answer = {"label": label, "label_index": index, "scores": scores}
    if threshold is not None:
        lowest = tf.constant(threshold, tf.float32)
        answer[CONFIDENT_OUTPUT] = tf.reduce_max(scores, axis=1) >= lowest
    return answer


def _give_labels(
    scores: tf.Tensor, names: tf.Tensor, thresholds: Sequence[float]
) -> dict[str, tf.Tensor]:
    """The outputs of a model that gives each text any number of labels."""
    if len(thresholds) != len(names):
        raise ValueError(f"{len(thresholds)} thresholds for {len(names)} classes")
    is_predicted = scores >= tf.constant(thresholds, tf.float32)
    labels = tf.where(is_predicted, names, tf.constant(""))
    return {"labels": labels, "is_predicted": is_predicted, "scores": scores}


def scale_logits(logits: Any, temperature: float | None) -> Any:
    """The logits in float32, divided by the temperature if there is one."""
    logits = tf.cast(logits, tf.float32)
    return logits if temperature is None else logits / tf.constant(temperature, tf.float32)


def save_serving_model(served: ServingModel, directory: Path) -> None:
    """Write the SavedModel, and check that it can be loaded again."""
    signatures = {SIGNATURE_NAME: served.classify, EMBED_SIGNATURE_NAME: served.embed}
    tf.saved_model.save(served, str(directory), signatures=signatures)
    check_operations(directory)


@dataclass(frozen=True)
class Scorer:
    """A loaded release: texts -> scores, float32 [n, classes or 1], in the texts' order.

    `output` is the signature's output that counts as scores, `inputs` the names of its inputs. A
    text of two inputs is a pair. A number is the only score of its text.
    """

    signature: Callable[..., dict[str, Any]]
    output: str = "scores"
    inputs: tuple[str, ...] = SINGLE_INPUT

    def __call__(self, texts: Sequence[Text]) -> npt.NDArray[np.float32]:
        """Scores of the texts, batched by length."""
        order = np.argsort([-length for length in count_characters(texts)], kind="stable")
        parts = []
        for start in range(0, len(order), DEFAULT_BATCH_SIZE):
            part = order[start : start + DEFAULT_BATCH_SIZE]
            parts.append(self.compute_batch([texts[row] for row in part]))
        if not parts:
            return self.compute_batch([])
        scores = np.concatenate(parts)
        restored = np.empty_like(scores)
        restored[order] = scores
        return restored

    def compute_batch(self, texts: Sequence[Text]) -> npt.NDArray[np.float32]:
        """Scores of the texts, computed at once."""
        scores: npt.NDArray[np.float32] = self._answer(texts)[self.output].numpy()
        return scores if scores.ndim > 1 else scores[:, np.newaxis]

    def compute_outputs(self, texts: Sequence[Text]) -> dict[str, npt.NDArray[Any]]:
        """All outputs of the signature for the texts, computed at once."""
        return {name: value.numpy() for name, value in self._answer(texts).items()}

    def _answer(self, texts: Sequence[Text]) -> dict[str, Any]:
        # Lone surrogates become replacement characters: no request can hold them either.
        encoded = [text.encode("utf-8", "replace") for text in flatten_texts(texts)]
        return self.run(encoded)

    def run(self, encoded: Sequence[bytes]) -> dict[str, Any]:
        """All outputs for UTF-8 texts; those of pairs follow each other, the first one first."""
        count = len(self.inputs)
        columns = {
            name: tf.constant(encoded[number::count], tf.string)
            for number, name in enumerate(self.inputs)
        }
        return self.signature(**columns)


def load_scorer(
    directory: Path,
    inputs: tuple[str, ...] = SINGLE_INPUT,
    kind: TaskKind = "single_label",
    classes: int = 0,
) -> Scorer:
    """The model in a release's directory, as `load_saved_model` loads it."""
    return create_scorer(load_saved_model(directory, inputs, kind, classes), inputs, kind)


def load_saved_model(
    directory: Path,
    inputs: tuple[str, ...] = SINGLE_INPUT,
    kind: TaskKind = "single_label",
    classes: int = 0,
) -> Any:
    """The SavedModel in a release's directory, after its operations were checked.

    `inputs`, `kind`, that of the task, and the number of `classes` (0: unknown, or there are none)
    are those that the release's manifest names. Raises DataError if it is not a SavedModel, has an
    operation that is not allowed, another signature than kubert's, or scores for other classes. The
    caller verifies the files' digests first.
    """
    loaded = _load_saved_model(directory)
    signature = _find_signature(loaded, SIGNATURE_NAME, inputs, OUTPUTS[kind])
    if signature is None:
        raise DataError(
            f"{directory}: has no signature {SIGNATURE_NAME} from {', '.join(inputs)} to "
            f"{', '.join(OUTPUTS[kind])}; it was not exported by kubert"
        )
    width = signature.structured_outputs[SCORES_OUTPUTS[kind]].shape[-1]
    if classes and width not in (None, classes):
        raise DataError(
            f"{directory}: its model gives {width} scores for each text, but its manifest names "
            f"{classes} classes: one of them was changed; export or pull it again"
        )
    return loaded


def create_scorer(
    loaded: Any, inputs: tuple[str, ...] = SINGLE_INPUT, kind: TaskKind = "single_label"
) -> Scorer:
    """The scorer of a loaded release."""
    signature = loaded.signatures[SIGNATURE_NAME]
    return Scorer(_keep_alive(loaded, signature), SCORES_OUTPUTS[kind], inputs)


def load_embedder(directory: Path, inputs: tuple[str, ...] = SINGLE_INPUT) -> Scorer:
    """The release's encoder as a Scorer whose scores are embeddings: float32 [n, hidden size].

    Raises DataError as `load_scorer` does, and for a release that was exported without.
    """
    loaded = _load_saved_model(directory)
    signature = _find_signature(loaded, EMBED_SIGNATURE_NAME, inputs, [EMBEDDING_OUTPUT])
    if signature is None:
        raise DataError(
            f"{directory}: has no signature {EMBED_SIGNATURE_NAME}, because an older version of "
            "kubert exported it; export its checkpoint again to get embeddings"
        )
    return Scorer(_keep_alive(loaded, signature), EMBEDDING_OUTPUT, inputs)


def _load_saved_model(directory: Path) -> Any:
    check_operations(directory)
    try:
        return tf.saved_model.load(str(directory))
    except Exception as error:
        raise DataError(
            f"{directory}: TensorFlow cannot load this model ({_first_line(error)}); "
            "export or pull it again"
        ) from None


def _find_signature(loaded: Any, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """The signature from texts to these outputs; None if there is none."""
    signature = loaded.signatures.get(name) if hasattr(loaded.signatures, "get") else None
    if (
        signature is None
        or set(signature.structured_input_signature[1]) != set(inputs)
        or set(signature.structured_outputs) - {CONFIDENT_OUTPUT} != set(outputs)
    ):
        return None
    return signature


def _keep_alive(loaded: Any, signature: Any) -> Callable[..., dict[str, Any]]:
    """The signature as a function that keeps the loaded object, which owns the weights, alive."""

    def call(**inputs: Any) -> dict[str, Any]:
        assert loaded is not None
        result: dict[str, Any] = signature(**inputs)
        return result

    return call


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
