"""The kind of task of an artifact: what its labels are, and what its model says of a text."""

from __future__ import annotations

import math
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.artifacts.manifest import added_field
from components.config.task import TaskKind

MIN_RELATIVE_STD = 1e-6
"""Standard deviation, relative to the mean, below which float32 shows the differences badly."""
FLOAT32_BITS = 24
"""Of a number's significant digits in float32."""


class TaskInfo(BaseModel):
    """The kind of task; of a regression also the constants that standardize its numbers.

    `mean` and `std`, the population's standard deviation, are those of the training rows: a model
    computes (number - mean) / std, and what it says of a text is converted back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: TaskKind = "single_label"
    mean: float | None = added_field(None)
    std: float | None = Field(None, gt=0, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _check_constants(self) -> Self:
        is_regression = self.kind == "regression"
        if (self.mean is not None, self.std is not None) != (is_regression, is_regression):
            raise ValueError("a regression has mean and std, and no other kind of task has them")
        return self

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation of a regression; 0 and 1 of other kinds."""
        if self.mean is None or self.std is None:
            return 0.0, 1.0
        return self.mean, self.std

    def describe_rounding(self) -> list[str]:
        """A sentence if the numbers differ by less than float32 can tell apart well."""
        mean, std = self.scale
        if std >= MIN_RELATIVE_STD * abs(mean):
            return []
        step = 2.0 ** (math.frexp(mean)[1] - FLOAT32_BITS)
        return [
            f"the numbers are about {mean:.6g} and their standard deviation is {std:.3g}, but "
            f"predictions are float32, which has steps of {step:.3g} there: subtract a constant, "
            "such as the mean, from the numbers of data.label"
        ]

    def count_outputs(self, classes: int) -> int:
        """The numbers that a model computes of a text: one per class, or one."""
        return 1 if self.kind == "regression" else classes


SINGLE_LABEL = TaskInfo()
"""The kind of task of artifacts that do not name one."""
