"""A model is only released if it answers as it was evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.token_shards import SplitReader
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import Precision
from components.errors import KubertError
from components.model.tokenizer import WordPiece

MAX_SCORE_DIFFERENCE = {"float32": 1e-5, "bfloat16": 0.1}
"""Largest difference of a score. In bfloat16, scores of 832 AG News texts differed by up to 0.014; what is held there is the accuracy."""
MAX_ACCURACY_LOSS = 0.003
PARITY_ROWS = 64
Scores = npt.NDArray[np.float32]
PROBE_TEXTS = (
    "",
    " \t\n",
    "word " * 10_000,
    "x" * 20_000,
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "Mixed \u043c\u0438\u0440 \u4e16\u754c \u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947 caf\u00e9 cafe\u0301 \ufb01ne\u2026",
    "[CLS] [SEP] [PAD] [UNK] ##ing",
    '<b>"quoted"</b> &lt; \\ \' ; -- $1,000.00',
)


def select_rows_by_length(lengths: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.intp]:
    """Up to `count` row numbers, evenly over the rows sorted by length: the shortest and the longest are among them."""
    order = np.argsort(lengths, kind="stable")
    return order[
        np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.intp))
    ]


class ParityResult(NamedTuple):
    """How many test rows were compared, the largest difference of a score, and the accuracy on them where these are all rows."""

    rows: int
    difference: float
    accuracy: float | None


def check_test_rows(
    scorer: Callable[[Sequence[str]], Scores],
    split: SplitReader,
    evaluated: Scores,
    precision: Precision = "float32",
) -> ParityResult:
    """The served scores against the evaluator's (float32): on test rows of all lengths, in bfloat16 on every test row.

    Raises KubertError if any differs by more than TOLERANCE or is not a finite number, or, in bfloat16, if the accuracy is
    more than LOST_ACCURACY below that of the evaluated scores.
    """
    rows = (
        select_rows_by_length(split.read_lengths(), PARITY_ROWS)
        if precision == "float32"
        else np.arange(len(split))
    )
    served = scorer(split.read_texts(rows))
    difference = _compare(served, evaluated[rows], [f"test row {row}" for row in rows], precision)
    if precision == "float32":
        return ParityResult(len(rows), difference, None)
    labels = split.read_labels()
    right, wanted = (
        float((scores.argmax(axis=1) == labels).mean()) for scores in (served, evaluated)
    )
    if wanted - right > MAX_ACCURACY_LOSS:
        raise KubertError(
            f"not released: computed in {precision}, the model is right on {right:.2%} of the test rows, evaluated were {wanted:.2%}; "
            "set export.precision to float32"
        )
    return ParityResult(len(rows), difference, right)


def check_probe_texts(
    scorer: Callable[[Sequence[str]], Scores],
    classifier: Callable[..., Any],
    vocabulary: Vocabulary,
    max_length: int,
    precision: Precision = "float32",
) -> None:
    """The same for texts that people do not write into test sets, against the classifier on ids made offline.

    Each is served alone: a model computes one text on another path than many.
    """
    tokenizer = WordPiece(vocabulary)
    offline = []
    for text in PROBE_TEXTS:
        ids = tokenizer(tf.constant([text]), max_length).to_tensor(vocabulary.pad_id)
        offline.append(
            tf.nn.softmax(
                tf.cast(classifier({"input_word_ids": ids}, training=False), tf.float32)
            ).numpy()[0]
        )
    served = np.concatenate([scorer([text]) for text in PROBE_TEXTS])
    _compare(
        served, np.stack(offline), [f"the text {text[:20]!r}" for text in PROBE_TEXTS], precision
    )


def _compare(served: Scores, expected: Scores, names: Sequence[str], precision: Precision) -> float:
    if served.shape != expected.shape:
        raise KubertError(
            f"not released: the exported model gives scores of shape {served.shape}, evaluated were {expected.shape}"
        )
    differences = np.abs(served - expected).max(axis=1)
    # Written so that a NaN fails.
    wrong = np.flatnonzero(~(differences <= MAX_SCORE_DIFFERENCE[precision]))
    if len(wrong):
        raise KubertError(
            f"not released: for {names[wrong[0]]} the exported model's scores differ from the evaluated ones by "
            f"{differences[wrong[0]]:.2g}, more than {MAX_SCORE_DIFFERENCE[precision]:g}; {len(wrong)} of {len(names)} texts differ"
        )
    return float(differences.max())
