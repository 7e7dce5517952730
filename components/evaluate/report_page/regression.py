"""What the page of a regression report shows, beside what all reports have."""

from __future__ import annotations

from typing import Any

from components.artifacts.report import RegressionReport
from components.evaluate.report_page.number_plots import draw_error_histogram, draw_points

BIAS_SHARE = 0.1
"""Of the RMSE, that the mean error must exceed to be named a bias."""


def describe_regression(content: RegressionReport) -> dict[str, Any]:
    """The values of the template `regression.html.j2`."""
    largest = max((group.rmse for group in content.length_errors), default=0.0)
    return {
        "points": draw_points(content.points),
        "histogram": draw_error_histogram(content.error_bins),
        "length_groups": [
            {"errors": group, "share": group.rmse / largest if largest else 0.0}
            for group in content.length_errors
        ],
        "is_biased": abs(content.mean_error) > BIAS_SHARE * content.rmse,
        "is_above_baseline": content.r2 is not None and content.r2 > 0,
        "limit": content.minimum.get("r2"),
    }
