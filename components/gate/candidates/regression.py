"""Candidates that give each text a number: judged by RMSE, compared by R2 on the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.artifacts.artifact import Artifact
from components.artifacts.predictions import Predictions
from components.artifacts.release import ReleaseContent
from components.artifacts.report import RegressionReport
from components.config.schema import EvaluateConfig
from components.errors import DataError
from components.gate.candidates.candidate import Comparison, Values
from components.gate.paired_numbers import PairedNumberSums
from components.gate.requirements import Failure, list_missed_limits

MAX_RELATIVE_ERROR = 1e-6


@dataclass(frozen=True)
class RegressionCandidate:
    """A candidate with its report's figures, which fit its predictions."""

    content: RegressionReport

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the decision."""
        return {"task": "regression", "metrics": self.content.scalar_metrics()}

    def describe_metric(self) -> str:
        """The RMSE with the number of rows."""
        return f"{self.content.headline} ({self.content.test_rows} test rows)"

    def describe_reached(self, config: EvaluateConfig) -> str:
        """The same: limits of its metrics are in evaluate.minimum."""
        return self.describe_metric()

    def describe_baseline(self, _config: EvaluateConfig) -> str:
        """The RMSE of always predicting the mean of the training rows."""
        return f"always predicting the training rows' mean reaches {self.content.baseline_rmse:.6g}"

    def list_failures(self, config: EvaluateConfig) -> list[Failure]:
        """What it fails by itself, all of it."""
        failures, r2 = [], self.content.r2
        if r2 is None:
            sentence = (
                f"all test rows have the same number, so {self.describe_metric()} proves nothing."
            )
            failures.append(Failure("one_number", sentence))
        elif r2 <= 0:
            sentence = (
                f"{self.describe_metric()}: R2 {r2:.4f} is not above 0, so always predicting the "
                "test rows' mean is as good; add training rows, or train longer."
            )
            failures.append(Failure("baseline", sentence))
        return failures + list_missed_limits(config, self.content.find_metric)

    def pair_with(self, champion: ReleaseContent, classes: Sequence[str]) -> PairedNumbers:
        """Collects the rows of a comparison."""
        return PairedNumbers(self.content)

    def equal_itself(self) -> Comparison:
        """The comparison with a champion of the same checkpoint."""
        rmse = self.content.rmse
        return Comparison(
            champion=f"{rmse:.6g}", order=0, fields={"champion_metrics": {"rmse": rmse}}
        )


class PairedNumbers:
    """Adds up the squared errors of both models, in units of the test rows' deviation."""

    def __init__(self, content: RegressionReport) -> None:
        self._sums = PairedNumberSums(content.actual.mean, content.actual.std or 1.0)

    def add(self, labels: npt.NDArray[Any], candidate: npt.NDArray[Any], champion: Values) -> None:
        """Add rows: numbers and predicted numbers [rows], and the champion's [rows, 1]."""
        self._sums.add(labels, candidate.astype(np.float64), champion[:, 0].astype(np.float64))

    def compare(self) -> Comparison:
        """How the two compare on all rows."""
        sums = self._sums.summarize()
        r2 = sums.compare_r2()
        return Comparison(
            champion=f"{sums.champion_rmse:.6g}",
            order=(r2.difference > 0) - (r2.difference < 0),
            difference=r2,
            differences={"r2": r2, "rmse": sums.compare_rmse()},
            fields={"champion_metrics": {"rmse": sums.champion_rmse}},
            difference_title="difference of R2",
        )


def read_regression(
    report: Artifact[RegressionReport], parts: Iterable[Predictions]
) -> RegressionCandidate:
    """Compute the RMSE of the predictions; DataError if the report's is another."""
    content = report.content
    scale = content.actual.std or 1.0
    rows, squared = 0, 0.0
    for part in parts:
        if part.labels.dtype != np.float64 or not np.isfinite(part.labels).all():
            raise DataError(f"{report.directory}: its predictions are not of finite numbers")
        rows += len(part)
        squared += float((((part.predicted - part.labels) / scale) ** 2).sum())
    rmse = scale * (squared / rows) ** 0.5
    if rows != content.test_rows or abs(rmse - content.rmse) > MAX_RELATIVE_ERROR * scale:
        raise DataError(
            f"{report.directory}: its RMSE {content.rmse} is not that of its predictions "
            f"({rmse} of {rows} rows)"
        )
    return RegressionCandidate(content)
