"""Parity check: an exported model is released only if its scores are the evaluated ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.predictions import select_labels
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.token_shards import SplitReader
from components.artifacts.vocabulary import Vocabulary
from components.confidence.threshold import are_confident
from components.config.model import CUT, LongTexts
from components.config.schema import Precision
from components.data.text_columns import Text
from components.errors import KubertError
from components.export.served_quality import QualityMeter, Sums
from components.model.heads import compute_scores
from components.model.serving_model import CONFIDENT_OUTPUT, scale_logits
from components.model.tokenizer import WordPiece

MAX_SCORE_DIFFERENCE = {"float32": 1e-5, "bfloat16": 0.1}
"""In bfloat16, scores of 832 AG News texts differed by up to 0.014; the accuracy is checked too.

Of numbers, in units of their standard deviation; float32 has no more than about seven digits."""
MAX_QUALITY_LOSS = 0.003
"""Of the accuracy, the micro-F1 or R2 that reduced precision may cost."""
ROUNDINGS = 4
"""Units in the last place by which float32 numbers that are equal but for rounding may differ."""
PARITY_ROWS = 64
PART_ROWS = 4096
SINGLE_LABEL_METER = QualityMeter()
Scores = npt.NDArray[np.float32]
PROBE_TEXTS = (
    "",
    " \t\n",
    "word " * 10_000,
    "x" * 20_000,
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "Mixed \u043c\u0438\u0440 \u4e16\u754c \u0645\u0631\u062d\u0628\u0627 "
    "\u0928\u092e\u0938\u094d\u0924\u0947 caf\u00e9 cafe\u0301 \ufb01ne\u2026",
    "[CLS] [SEP] [PAD] [UNK] ##ing",
    '<b>"quoted"</b> &lt; \\ \' ; -- $1,000.00',
)


def list_probes(*, has_pairs: bool) -> list[Text]:
    """The unusual texts, or pairs of them: each is the first of one and the second of another."""
    if has_pairs:
        return [*zip(PROBE_TEXTS, PROBE_TEXTS[1:] + PROBE_TEXTS[:1], strict=True)]
    return [*PROBE_TEXTS]


def select_rows_by_length(lengths: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.intp]:
    """Up to `count` row numbers at even distances in the rows sorted by length.

    The shortest and the longest row are among them.
    """
    order = np.argsort(lengths, kind="stable")
    positions = np.linspace(0, len(order) - 1, min(count, len(order)))
    return order[np.unique(positions.round().astype(np.intp))]


class ParityResult(NamedTuple):
    """Number of compared test rows and the largest difference of a score, or of a number.

    `metrics` are those of the served scores if all rows were compared, otherwise empty.
    """

    rows: int
    difference: float
    metrics: dict[str, float]


def check_test_rows(
    scorer: Callable[[Sequence[Text]], Scores],
    split: SplitReader,
    read_evaluated: Callable[[npt.NDArray[np.intp]], Scores],
    precision: Precision = "float32",
    meter: QualityMeter = SINGLE_LABEL_METER,
) -> ParityResult:
    """Compare served scores with the evaluated ones of the same rows (float32) [rows, classes].

    Compares test rows of all lengths, in bfloat16 every test row; `read_evaluated` reads the scores
    of some rows. Raises KubertError if a score differs by more than `MAX_SCORE_DIFFERENCE` or is
    not finite or, in bfloat16, if the metric of the `meter` is more than `MAX_QUALITY_LOSS` below
    that of the evaluated scores.
    """
    rows = (
        select_rows_by_length(split.read_lengths(), PARITY_ROWS)
        if precision == "float32"
        else np.arange(len(split))
    )
    labels, difference, task = split.read_labels(), 0.0, meter.task
    sums: list[Sums] = []
    for part in np.split(rows, range(PART_ROWS, len(rows), PART_ROWS)):
        served, evaluated = scorer(split.read_texts(part)), read_evaluated(part)
        names = [f"test row {row}" for row in part]
        difference = max(difference, _compare_scores(served, evaluated, names, precision, task))
        if precision != "float32":
            sums.append(
                np.stack([meter.sum_rows(labels[part], each) for each in (served, evaluated)])
            )
    if precision == "float32":
        return ParityResult(len(rows), difference, {})
    metrics, evaluated_metrics = map(meter.compute_metrics, np.sum(sums, axis=0))
    if not evaluated_metrics[meter.metric] - metrics[meter.metric] <= MAX_QUALITY_LOSS:
        raise KubertError(
            f"not released: computed in {precision}, the model {meter.describe(metrics)}, "
            f"{meter.describe_evaluated(evaluated_metrics)}; set export.precision to float32"
        )
    return ParityResult(len(rows), difference, metrics)


def check_probe_texts(
    scorer: Callable[[Sequence[Text]], Scores],
    classifier: Callable[..., Any],
    vocabulary: Vocabulary,
    max_length: int,
    precision: Precision = "float32",
    temperature: float | None = None,
    *,
    has_pairs: bool = False,
    long_texts: LongTexts = CUT,
    task: TaskInfo = SINGLE_LABEL,
) -> None:
    """Compare scores of unusual texts with those of the classifier on ids tokenized offline.

    Of a model of pairs, each text is the first one of a pair and the second one of another. Each is
    served alone: the graph computes one text on another path than many. Raises KubertError as
    `check_test_rows` does.
    """
    tokenizer = WordPiece(vocabulary)
    expected = []
    probes = list_probes(has_pairs=has_pairs)
    for text in probes:
        ids = tf.constant([tokenizer.tokenize_flat([text], max_length, long_texts)[0]])
        logits = scale_logits(classifier({"input_word_ids": ids}, training=False), temperature)
        expected.append(compute_scores(logits, task).numpy()[0])
    served = np.concatenate([scorer([text]) for text in probes])
    names = [f"the text {text[:20]!r}" for text in PROBE_TEXTS]
    _compare_scores(served, np.stack(expected), names, precision, task)


def check_predicted_labels(
    compute_outputs: Callable[[Sequence[Text]], Mapping[str, npt.NDArray[Any]]],
    texts: Sequence[Text],
    classes: Sequence[str],
    thresholds: Sequence[float],
) -> None:
    """KubertError if a class is not predicted exactly where its score reaches its threshold."""
    outputs = compute_outputs(texts)
    expected = select_labels(outputs["scores"], thresholds)
    names = np.array([name.encode() for name in classes], object)
    labels = np.where(expected, names, b"")
    if not np.array_equal(outputs["is_predicted"], expected) or not np.array_equal(
        outputs["labels"], labels
    ):
        raise KubertError(
            "not released: the labels of the exported model are not those whose scores reach their "
            "thresholds"
        )


def check_confident_answers(
    compute_outputs: Callable[[Sequence[Text]], Mapping[str, npt.NDArray[Any]]],
    texts: Sequence[Text],
    threshold: float,
) -> None:
    """KubertError if a served answer is not confident exactly where its score says so."""
    outputs = compute_outputs(texts)
    expected = are_confident(outputs["scores"], threshold)
    if not np.array_equal(outputs[CONFIDENT_OUTPUT], expected):
        raise KubertError(
            f"not released: {CONFIDENT_OUTPUT} of the exported model is not whether the largest "
            f"score reaches {threshold:g}"
        )


def _compare_scores(
    served: Scores, expected: Scores, names: Sequence[str], precision: Precision, task: TaskInfo
) -> float:
    """The largest difference; KubertError, naming the first text, if it is too large."""
    if served.shape != expected.shape:
        raise KubertError(
            f"not released: the exported model gives scores of shape {served.shape}, "
            f"evaluated were {expected.shape}"
        )
    differences = np.abs(served - expected).max(axis=1)
    allowed, subject = np.full(len(differences), MAX_SCORE_DIFFERENCE[precision]), "scores differ"
    if task.kind == "regression":
        rounding = ROUNDINGS * np.spacing(np.abs(expected[:, 0]))
        allowed, subject = allowed * task.scale[1] + rounding, "number differs"
    # Not `>`, so that a NaN counts as different.
    different = np.flatnonzero(~(differences <= allowed))
    if len(different):
        first = different[0]
        raise KubertError(
            f"not released: for {names[first]} the exported model's {subject} from the "
            f"evaluated {'one' if task.kind == 'regression' else 'ones'} by "
            f"{differences[first]:.2g}, more than {allowed[first]:g}; "
            f"{len(different)} of {len(names)} texts differ"
        )
    return float(differences.max())
