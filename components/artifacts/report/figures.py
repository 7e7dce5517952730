"""Figures of single classes and curves that reports of several kinds of task have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FiniteModel(BaseModel):
    """A frozen group of finite numbers; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClassMetrics(FiniteModel):
    """One class against the rest; `support` is its number of test rows.

    precision is None if the class was never predicted; recall and f1 are None if it has no test
    rows.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int = Field(ge=0)


class RocCurve(FiniteModel):
    """Points of a receiver operating characteristic from (0, 0) to (1, 1), and the area under it.

    `thresholds` decrease; the first one is 2.0, above every score, so that no row is positive. The
    exact area is within `auc_error` of `auc`; 0 if all scores were compared with each other.
    """

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    thresholds: tuple[float, ...]
    auc: float = Field(ge=0, le=1)
    auc_error: float = Field(default=0.0, ge=0)


class CalibrationBin(FiniteModel):
    """Rows whose confidence (the largest score) is in (low, high]; None where it has no rows."""

    low: float
    high: float
    rows: int = Field(ge=0)
    confidence: float | None
    accuracy: float | None
