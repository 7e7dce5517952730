"""What reports say of thresholds and calibrated scores, where a text has one class."""

from __future__ import annotations

from pydantic import Field

from components.artifacts.report.figures import CalibrationBin, FiniteModel


class AnsweredRows(FiniteModel):
    """Rows whose confidence (the largest score) reaches the threshold, and the right ones of them.

    `rows` counts all rows, `answered` those that reach it, `correct` those of them that are right.
    """

    threshold: float = Field(ge=0, le=1)
    rows: int = Field(ge=1)
    answered: int = Field(ge=0)
    correct: int = Field(ge=0)

    @property
    def coverage(self) -> float:
        """Share of the rows that are answered."""
        return self.answered / self.rows

    @property
    def precision(self) -> float | None:
        """Share of the answered rows that are right; None if none is answered."""
        return self.correct / self.answered if self.answered else None


class Abstention(FiniteModel):
    """The threshold of confident answers (`evaluate.threshold`), and what it leaves of them.

    `precision` is the demanded one, None where the threshold was given. `threshold` is None if none
    reaches it on the validation rows; `validation` then has the threshold with the largest
    precision there, otherwise the chosen one. `test` and `curve` are about the test rows.
    """

    threshold: float | None
    precision: float | None
    validation: AnsweredRows | None
    test: AnsweredRows | None
    curve: tuple[AnsweredRows, ...]

    @property
    def is_idle(self) -> bool:
        """Whether all answers together reach the demanded precision, so that each is confident."""
        return self.precision is not None and self.threshold == 0

    def describe(self) -> str | None:
        """The threshold and its test rows in a sentence; None if no threshold was found."""
        if self.test is None:
            return None
        right = "none" if self.test.precision is None else f"{self.test.precision:.4f}"
        if self.is_idle and self.validation is not None:
            correct, rows = self.validation.correct, self.validation.rows
            reached = (
                f"All {rows:,} validation rows are right"
                if correct == rows
                else f"{correct:,} of {rows:,} validation rows are right, which reaches the "
                f"precision {self.precision:.4f}"
            )
            return (
                f"{reached}: the threshold is 0 and every answer is confident; {right} of the test "
                "rows are right."
            )
        return (
            f"Threshold {self.test.threshold:.4f}: {self.test.coverage:.4f} of the test rows are "
            f"answered confidently, {right} of these are right."
        )


class TemperatureScaling(FiniteModel):
    """The temperature that the logits are divided by, and what it does to the test scores.

    It is 1 where it could not be fitted, since each of the `validation_rows` is right. loss is the
    mean cross-entropy in nats and ece the expected calibration error, before and after;
    `calibration` is that of the scaled scores.
    """

    temperature: float = Field(gt=0)
    is_fitted: bool
    validation_rows: int = Field(ge=1)
    validation_loss: float = Field(ge=0)
    validation_loss_scaled: float = Field(ge=0)
    loss: float = Field(ge=0)
    loss_scaled: float = Field(ge=0)
    ece: float = Field(ge=0, le=1)
    ece_scaled: float = Field(ge=0, le=1)
    calibration: tuple[CalibrationBin, ...]

    def describe_failure(self) -> str | None:
        """Why the temperature could not be fitted, in a sentence; None if it was fitted."""
        if self.is_fitted:
            return None
        return (
            f"All {self.validation_rows:,} validation rows are right, so that no temperature can "
            "be fitted: it is 1, and the served scores are not calibrated."
        )
