"""Receiver operating characteristics from counts of rows by score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.artifacts.report import RocCurve
from components.evaluate.roc.score_counts import ScoreCounts

MAX_CURVE_POINTS = 200
ABOVE_EVERY_SCORE = 2.0


def trace_roc_curve(counts: ScoreCounts) -> RocCurve | None:
    """The ROC curve of the counts; None if all rows are positive, or none.

    The curve has at most MAX_CURVE_POINTS points, evenly spaced along it. The area is that under
    all of its points, and exact if the counts are. Otherwise `auc_error` bounds its error: within
    a bin, all positive rows may have larger scores than all negative ones, or smaller ones.
    """
    tps, fps = (np.cumsum(part, dtype=np.float64) for part in (counts.positives, counts.negatives))
    if not len(tps) or tps[-1] == 0 or fps[-1] == 0:
        return None
    pairs = tps[-1] * fps[-1]
    error = 0.0 if counts.exact else float((counts.positives / pairs) @ counts.negatives) / 2
    corners = _find_corners(fps, tps)
    fpr, tpr = (np.concatenate(([0.0], part[corners] / part[-1])) for part in (fps, tps))
    thresholds = np.concatenate(([ABOVE_EVERY_SCORE], counts.thresholds[corners]))
    indices = _space_evenly(fpr, tpr)
    return RocCurve(
        fpr=_round_values(fpr[indices]),
        tpr=_round_values(tpr[indices]),
        thresholds=_round_values(thresholds[indices]),
        auc=float(np.trapezoid(tpr, fpr)),
        auc_error=error,
    )


def _find_corners(
    fps: npt.NDArray[np.float64], tps: npt.NDArray[np.float64]
) -> npt.NDArray[np.intp]:
    """Indices of the points between which the curve is straight, both ends included.

    Points between two equal steps are left out: they change neither the curve nor the area.
    """
    bends = (np.diff(fps, 2) != 0) | (np.diff(tps, 2) != 0) if len(fps) > 2 else np.ones(0, bool)
    ends = np.ones(min(len(fps), 1), bool)
    return np.flatnonzero(np.concatenate((ends, bends, ends))[: len(fps)])


def _space_evenly(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Indices of at most MAX_CURVE_POINTS points, both ends included, evenly spaced by |dx| + |dy|.

    Unlike even spacing by index, this keeps the steep start of a good model's curve.
    """
    if len(x) <= MAX_CURVE_POINTS:
        return np.arange(len(x))
    lengths = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
    targets = np.linspace(0, lengths[-1], MAX_CURVE_POINTS)
    indices = np.unique(np.searchsorted(lengths, targets).clip(0, len(x) - 1))
    indices[-1] = len(x) - 1
    return indices


def _round_values(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.round(values, 6).tolist())
