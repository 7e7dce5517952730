"""The report of a model that gives each text a number."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from components.artifacts.manifest import added_field
from components.artifacts.report.figures import FiniteModel
from components.artifacts.report.origin import ReportOrigin


class NumberSummary(FiniteModel):
    """Numbers of the test rows: mean, standard deviation (divided by rows), and range."""

    mean: float
    std: float = Field(ge=0)
    low: float
    high: float


class ErrorQuantile(FiniteModel):
    """A share of the rows, whose error is at most `error` in either direction."""

    share: float = Field(gt=0, le=1)
    error: float = Field(ge=0)


class ErrorBin(FiniteModel):
    """Rows whose error, predicted minus actual number, is in [low, high)."""

    low: float
    high: float
    rows: int = Field(ge=0)


class LengthErrors(FiniteModel):
    """Rows whose text has `low` to `high` tokens; mean_error is of predicted minus actual."""

    low: int
    high: int
    rows: int = Field(ge=1)
    rmse: float = Field(ge=0)
    mae: float = Field(ge=0)
    mean_error: float


class NumberMistake(FiniteModel):
    """A test row with a large error; long texts are cut."""

    row: int = Field(ge=0)
    actual: float
    predicted: float
    text: str
    text_pair: str | None = added_field(None)

    @property
    def error(self) -> float:
        """Predicted minus actual number."""
        return self.predicted - self.actual


class RegressionMetrics(FiniteModel):
    """Every metric that follows from actual and predicted numbers, in the units of the data.

    rmse is the root of the mean squared error, mae the mean absolute error, mean_error the mean of
    predicted minus actual number. r2 is 1 minus the squared errors over the squared distances from
    the mean of the test rows; None if they all have the same number. spearman is the correlation of
    the ranks; None if all numbers or all predictions are equal. It is exact up to 1,048,576 rows;
    of more, numbers are ranked in bins, and spearman_is_exact is false. The bounds `_low` and
    `_high` are 95% intervals, None with fewer than four rows. baseline_rmse and baseline_mae are
    those of always predicting the mean of the training rows. loss is the mean squared error in
    units of the training rows' standard deviation.

    error_quantiles, error_bins and points are about the first 1,048,576 rows: shares of the rows
    by size of error, a histogram of the errors, and (actual, predicted) of evenly spaced rows.
    """

    test_rows: int = Field(ge=1)
    rmse: float = Field(ge=0)
    rmse_low: float | None
    rmse_high: float | None
    mae: float = Field(ge=0)
    mae_low: float | None
    mae_high: float | None
    r2: float | None
    r2_low: float | None
    r2_high: float | None
    spearman: float | None
    spearman_low: float | None
    spearman_high: float | None
    spearman_is_exact: bool
    mean_error: float
    baseline_rmse: float = Field(ge=0)
    baseline_mae: float = Field(ge=0)
    loss: float = Field(ge=0)
    actual: NumberSummary
    predicted: NumberSummary
    error_quantiles: tuple[ErrorQuantile, ...]
    error_bins: tuple[ErrorBin, ...]
    points: tuple[tuple[float, float], ...]
    length_errors: tuple[LengthErrors, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """None: it predicts numbers."""
        return ()

    def find_metric(self, name: str) -> float | None:
        """A metric by its name in `evaluate.minimum`; None where it is undefined."""
        value: float | None = getattr(self, name)
        return value

    def scalar_metrics(self) -> dict[str, float]:
        """The scalar metrics that are defined, by name, as a pipeline reports them."""
        names = [f"{name}{end}" for name in _WITH_INTERVAL for end in ("", "_low", "_high")]
        names += ["mean_error", "baseline_rmse", "baseline_mae", "loss"]
        values: dict[str, Any] = {name: getattr(self, name) for name in names}
        values["test_rows"] = float(self.test_rows)
        return {name: value for name, value in values.items() if value is not None}


_WITH_INTERVAL = ("rmse", "mae", "r2", "spearman")


class GatedRegressionMetrics(RegressionMetrics):
    """The metrics, the required ones, and the largest errors (none if it must have no texts)."""

    minimum: dict[str, float] = added_field({})
    mistakes: tuple[NumberMistake, ...]


class RegressionReport(ReportOrigin, GatedRegressionMetrics):
    """The metrics, the required ones, the largest errors, and the origin of all of it.

    The digests are those of the inputs' manifests. `mistakes` is empty if the report must not
    contain texts. `inputs` names the text, or those of a pair. `minimum` has the smallest r2 and
    spearman, and the largest rmse and mae.
    """

    @property
    def evaluation_notes(self) -> tuple[str, ...]:
        """What a person should read of the figures, in sentences."""
        if self.spearman_is_exact:
            return ()
        return (
            "The Spearman correlation is of numbers ranked in bins: there are more than 1,048,576 "
            "test rows.",
        )

    @property
    def main_metric(self) -> str:
        """Name of the metric that models are compared by."""
        return "rmse"

    @property
    def headline(self) -> str:
        """The main metric in words."""
        return f"RMSE {self.rmse:.6g}"

    @property
    def pooled_curve(self) -> None:
        """None: numbers have no ROC curve."""
        return

    @property
    def result_figures(self) -> dict[str, Any]:
        """The figures of a run's result, by name."""
        return {
            "task": self.task.kind,
            **self.scalar_metrics(),
            "test_rows": self.test_rows,
        }
