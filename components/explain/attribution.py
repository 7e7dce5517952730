"""Contributions of tokens to a class, or to a number: integrated gradients, and occlusion.

Both are in log-odds of the class, log(p / (1 - p)) of its score p: a contribution of 1 makes the
odds 2.7 times as high. Of a regression they are in the units of the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from components.config.task import TaskKind

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]

MAX_BATCH_ROWS = 16
MAX_BATCH_TOKENS = 512
"""Bounds of a call: the memory of an explanation does not grow with steps, words, or texts."""


class DifferentiableModel(Protocol):
    """What integrated gradients need; `components.explain.graph_model` has the real one."""

    def embed(self, ids: Ids) -> Floats:
        """Ids [texts, tokens] -> [texts, tokens, width]."""

    def differentiate(self, ids: Ids, embeddings: Floats, target: int) -> tuple[Floats, Floats]:
        """The evidence [texts] for a class with these embeddings, and its gradient."""


class ScoringModel(Protocol):
    """What occlusion needs."""

    def compute_logits(self, ids: Ids) -> Floats:
        """Ids [texts, tokens] -> [texts, classes], or numbers [texts, 1]."""


@dataclass(frozen=True)
class IntegratedGradients:
    """The contribution of each token, [tokens], and what they should add up to.

    evidence: of the text, the log-odds or the number. baseline: that where every word piece is
    [PAD]. gap: what the contributions do not account for of the difference; 0 for an exact
    integral.
    """

    contributions: Floats
    evidence: float
    baseline: float
    gap: float


def integrate_gradients(
    model: DifferentiableModel, ids: Ids, padding: int, target: int, steps: int
) -> IntegratedGradients:
    """Integrated gradients (Sundararajan et al. 2017) of one text: int32 [tokens].

    The path is straight, from the embedding of [PAD] in the place of every word piece to the
    text's own; [CLS], [SEP] and the positions stay, so that words alone contribute. The integral
    is a Gauss-Legendre quadrature of `steps` points.
    """
    end = model.embed(ids[np.newaxis])[0]
    start = model.embed(_blank(ids, padding)[np.newaxis])[0]
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    positions, weights = (nodes + 1) / 2, weights / 2
    total = np.zeros(end.shape, np.float64)
    size = count_batch_rows(len(ids))
    for first in range(0, steps, size):
        part = slice(first, first + size)
        points = start + positions[part, np.newaxis, np.newaxis] * (end - start)
        rows = np.repeat(ids[np.newaxis], len(points), axis=0)
        _, gradients = model.differentiate(rows, points.astype(np.float32), target)
        total += np.einsum("s,stw->tw", weights[part], gradients)
    contributions = ((end - start) * total).sum(axis=1)
    row = ids[np.newaxis]
    evidence, baseline = (
        float(model.differentiate(row, each[np.newaxis], target)[0][0]) for each in (end, start)
    )
    return IntegratedGradients(
        contributions=contributions.astype(np.float32),
        evidence=evidence,
        baseline=baseline,
        gap=evidence - baseline - float(contributions.sum()),
    )


def occlude_words(
    model: ScoringModel,
    ids: Ids,
    padding: int,
    target: int,
    words: Sequence[Sequence[int]],
    kind: TaskKind = "single_label",
) -> list[float]:
    """By how much the evidence falls without each word, given by the numbers of its tokens.

    The word's pieces become [PAD], which nothing attends to; all others keep their places.
    """
    rows = np.repeat(ids[np.newaxis], len(words) + 1, axis=0)
    for row, tokens in zip(rows[1:], words, strict=True):
        row[[*tokens]] = padding
    size = count_batch_rows(len(ids))
    values = np.concatenate(
        [
            compute_evidence(model.compute_logits(rows[start : start + size]), target, kind)
            for start in range(0, len(rows), size)
        ]
    )
    return [float(values[0] - value) for value in values[1:]]


def count_batch_rows(tokens: int) -> int:
    """Rows of `tokens` tokens that are computed by one call."""
    return max(1, min(MAX_BATCH_ROWS, MAX_BATCH_TOKENS // tokens))


def compute_evidence(
    logits: Floats, target: int, kind: TaskKind = "single_label"
) -> npt.NDArray[np.float64]:
    """log(p / (1 - p)) of the target's score p, or the number: logits [texts, classes] -> [texts].

    Where each class has a score by itself, the log-odds are its logit.
    """
    values = logits.astype(np.float64)
    if kind != "single_label":
        alone: npt.NDArray[np.float64] = values[:, target]
        return alone
    others = np.delete(values, target, axis=1)
    highest = others.max(axis=1)
    rest = highest + np.log(np.exp(others - highest[:, np.newaxis]).sum(axis=1))
    difference: npt.NDArray[np.float64] = values[:, target] - rest
    return difference


def compute_scores(logits: Floats, kind: TaskKind) -> npt.NDArray[np.float64]:
    """The scores of one text, as the served graph computes them from its logits [classes]."""
    values = logits.astype(np.float64)
    if kind == "single_label":
        powers = np.exp(values - values.max())
        values = powers / powers.sum()
    elif kind == "multi_label":
        values = 1 / (1 + np.exp(-values))
    return values


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's correlation of two rankings, -1 to 1; None for fewer than three words."""
    if len(first) < 3:
        return None
    ranks = [_average_ranks(np.asarray(values, np.float64)) for values in (first, second)]
    if any(np.ptp(each) == 0 for each in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _average_ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    below = (values[:, np.newaxis] > values).sum(axis=1)
    equal = (values[:, np.newaxis] == values).sum(axis=1)
    ranks: npt.NDArray[np.float64] = below + (equal - 1) / 2
    return ranks


def _blank(ids: Ids, padding: int) -> Ids:
    """The ids with [PAD] for all but [CLS] and [SEP], which no text contains."""
    return np.where((ids == ids[0]) | (ids == ids[-1]), ids, np.int32(padding))
