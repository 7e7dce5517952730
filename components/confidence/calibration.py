"""Temperature scaling: scores that are right as often as they say.

The logits are divided by one number, the temperature, which is fitted on rows that the model was
not trained on. C. Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
The largest score stays the largest, so that no label changes.

Scores take the place of logits: the logarithm of a softmax differs from its logits by a number that
is the same for all classes, which the softmax of the quotient does not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

MAX_TEMPERATURE = 20.0
"""The largest temperature that is tried; the smallest is its reciprocal."""
TEMPERATURE_DECIMALS = 4
MAX_PASSES = 60
TOLERANCE = 1e-7


def apply_temperature(scores: Scores, temperature: float | None) -> Scores:
    """The softmax of logits / temperature, for softmax scores of the logits [rows, classes].

    Without a temperature, the scores as they are. Scores below the smallest normal float32 count as
    that one.
    """
    if temperature is None:
        return scores
    logits = _to_logits(scores) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    calibrated: Scores = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return calibrated


def fit_temperature(read_parts: Callable[[], Iterable[tuple[Labels, Scores]]]) -> float | None:
    """The temperature with the smallest mean cross-entropy; None if it cannot be fitted.

    `read_parts` gives labels and softmax scores in parts, the same ones at each call. It cannot be
    fitted where every row is right: each smaller temperature would seem better. The cross-entropy
    is convex in the reciprocal of the temperature, whose root of the derivative is found by
    Newton's method, with bisection where it would leave the bracket.
    """
    if all((scores.argmax(axis=1) == labels).all() for labels, scores in read_parts()):
        return None
    low, high, factor = 1 / MAX_TEMPERATURE, MAX_TEMPERATURE, 1.0
    for _ in range(MAX_PASSES):
        slope, curvature = _differentiate(read_parts(), factor)
        low, high = (low, factor) if slope > 0 else (factor, high)
        step = factor - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - factor) <= TOLERANCE * factor:
            break
        factor = following
    # Rounded, so that the order of a sum does not show in the served model.
    return round(1 / factor, TEMPERATURE_DECIMALS)


def _differentiate(parts: Iterable[tuple[Labels, Scores]], factor: float) -> tuple[float, float]:
    """First and second derivative of the summed cross-entropy of the softmax of logits * factor."""
    slope = curvature = 0.0
    for labels, scores in parts:
        logits = _to_logits(scores)
        powers = np.exp(factor * (logits - logits.max(axis=1, keepdims=True)))
        shares = powers / powers.sum(axis=1, keepdims=True)
        mean = (shares * logits).sum(axis=1)
        slope += float((mean - logits[np.arange(len(labels)), labels]).sum())
        curvature += float((shares * (logits - mean[:, np.newaxis]) ** 2).sum())
    return slope, curvature


def _to_logits(scores: Scores) -> npt.NDArray[np.float64]:
    logits: npt.NDArray[np.float64] = np.log(
        np.maximum(scores, np.finfo(np.float32).tiny).astype(np.float64)
    )
    return logits
