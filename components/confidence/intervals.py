"""95% confidence intervals in closed form."""

from __future__ import annotations

import math

NORMAL_QUANTILE = 1.959963984540054
"""97.5% quantile of the standard normal distribution, for an interval of 95%."""


def wilson_interval(successes: int, rows: int) -> tuple[float, float]:
    """95% Wilson score interval for a proportion of `successes` in `rows` > 0, within [0, 1].

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212. Unlike the normal approximation, it holds for few rows and for
    proportions near 0 or 1.
    """
    share, squared = successes / rows, NORMAL_QUANTILE**2
    scale = 2 * (rows + squared)
    center = (2 * rows * share + squared) / scale
    half = NORMAL_QUANTILE / scale * (4 * rows * share * (1 - share) + squared) ** 0.5
    return (
        0.0 if successes == 0 else center - half,
        1.0 if successes == rows else center + half,
    )


def paired_interval(gained: int, lost: int, rows: int) -> tuple[float, float]:
    """95% interval for the difference of two proportions of the same `rows` > 0, within [-1, 1].

    `gained` rows are successes in the first proportion only, `lost` ones in the second only. This
    is the adjusted Wald interval: D. G. Bonett and R. M. Price, "Adjusted Wald confidence interval
    for a difference of binomial proportions based on paired data", Journal of Educational and
    Behavioral Statistics 37 (2012), 479-488.
    """
    size = rows + 2
    gain, loss = (gained + 1) / size, (lost + 1) / size
    half = NORMAL_QUANTILE * ((gain + loss - (gain - loss) ** 2) / size) ** 0.5
    return max(-1.0, gain - loss - half), min(1.0, gain - loss + half)


def spearman_interval(correlation: float | None, rows: int) -> tuple[float | None, float | None]:
    """95% interval of a rank correlation, within [-1, 1]; none for fewer than four rows.

    D. G. Bonett and T. A. Wright, "Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations", Psychometrika 65 (2000), 23-28: Fisher's transformation, with a variance
    of (1 + correlation^2 / 2) / (rows - 3).
    """
    if correlation is None or rows < 4:
        return None, None
    if abs(correlation) == 1:
        return correlation, correlation
    center = math.atanh(correlation)
    half = NORMAL_QUANTILE * ((1 + correlation**2 / 2) / (rows - 3)) ** 0.5
    return math.tanh(center - half), math.tanh(center + half)
