"""Mean, standard deviation and interval of a metric over the folds of a cross-validation.

The folds' values are not independent: any two of the models share most of their training rows. The
usual standard error of the mean, s / sqrt(K), leaves that out and is too small. The interval here
is the one of C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52
(2003), 239-281: the variance of the mean is (1 / K + held-out rows / training rows) * s^2, with
Student's t for K - 1 degrees of freedom. It was derived for splits that are drawn again each time
and is an approximation for folds: Y. Bengio and Y. Grandvalet, "No unbiased estimator of the
variance of K-fold cross-validation", JMLR 5 (2004), 1089-1105, show that there is no exact one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from components.artifacts.cross_validation import FoldResult, MetricSummary

CONFIDENCE = 0.95
SKIPPED_ENDINGS = ("_low", "_high", "_rows")
"""Ends of intervals, and counts: their means say nothing about the model."""
BOUNDS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("loss", "rmse", "mae", "baseline_rmse", "baseline_mae"), (0.0, math.inf)),
    "mean_error": (-math.inf, math.inf),
    "r2": (-math.inf, 1.0),
    "spearman": (-1.0, 1.0),
}
"""Least and greatest values of metrics; all others that are shares are within 0 and 1."""


def summarize_metrics(results: Sequence[FoldResult]) -> dict[str, MetricSummary]:
    """The summary of each metric that at least one fold has, in the order of the first one."""
    names = dict.fromkeys(name for result in results for name in result.metrics)
    summaries = {}
    for name in names:
        if name.endswith(SKIPPED_ENDINGS):
            continue
        having = [result for result in results if name in result.metrics]
        held_out = sum(result.rows["test"] for result in having)
        others = sum(result.rows["train"] + result.rows["validation"] for result in having)
        values = [result.metrics[name] for result in having]
        summaries[name] = summarize(values, held_out / others, _find_bounds(name, values))
    return summaries


def summarize(
    values: Sequence[float],
    test_ratio: float,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> MetricSummary:
    """Mean, standard deviation and 95% interval of a metric's values in the folds.

    `test_ratio` is the number of held-out rows divided by that of the rows a model is made with.
    The interval is cut at `bounds`. Without a second value there is neither deviation nor interval.
    """
    count, mean = len(values), statistics.fmean(values)
    if count < 2:
        return MetricSummary(folds=count, mean=mean, standard_deviation=None, low=None, high=None)
    deviation = statistics.stdev(values)
    half = _student_quantile(count - 1) * deviation * math.sqrt(1 / count + test_ratio)
    return MetricSummary(
        folds=count,
        mean=mean,
        standard_deviation=deviation,
        low=max(bounds[0], mean - half),
        high=min(bounds[1], mean + half),
    )


def _student_quantile(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def _find_bounds(name: str, values: Sequence[float]) -> tuple[float, float]:
    if name in BOUNDS:
        return BOUNDS[name]
    return (0.0, 1.0) if all(0 <= value <= 1 for value in values) else (-math.inf, math.inf)
