"""The interval of a mean over folds, against a calculation by hand."""

from __future__ import annotations

import math

import pytest

from components.artifacts.cross_validation import FoldResult
from components.cross_validation.statistics import summarize, summarize_metrics

VALUES = (0.90, 0.92, 0.88, 0.91, 0.89)
STUDENT_975_OF_4 = 2.7764451


def make_results(**metrics: tuple[float | None, ...]) -> list[FoldResult]:
    return [
        FoldResult(
            fold=fold,
            rows={"train": 360, "validation": 40, "test": 100},
            metrics={
                name: values[fold - 1]
                for name, values in metrics.items()
                if values[fold - 1] is not None
            },
            report_digest="a" * 64,
        )
        for fold in range(1, len(next(iter(metrics.values()))) + 1)
    ]


def test_the_interval_accounts_for_shared_training_rows() -> None:
    found = summarize(VALUES, test_ratio=100 / 400)
    deviation = math.sqrt(sum((value - 0.9) ** 2 for value in VALUES) / 4)
    half = STUDENT_975_OF_4 * deviation * math.sqrt(1 / 5 + 1 / 4)
    assert found.mean == pytest.approx(0.9)
    assert found.standard_deviation == pytest.approx(deviation)
    assert (found.low, found.high) == pytest.approx((0.9 - half, 0.9 + half))


def test_metrics_are_taken_as_they_come() -> None:
    results = make_results(
        accuracy=VALUES,
        accuracy_low=VALUES,
        test_rows=(100.0,) * 5,
        macro_f1=(None, 0.5, None, None, None),
        r2=(-0.2, 0.9, 0.8, 0.9, 0.9),
        mae=(0.0, 0.0, 9.0, 0.0, 0.0),
        own=(0.99, 1.0, 0.8, 1.0, 1.0),
    )
    found = summarize_metrics(results)
    assert [*found] == ["accuracy", "r2", "mae", "own", "macro_f1"]
    assert found["accuracy"] == summarize(VALUES, 0.25, (0, 1))
    assert found["macro_f1"].model_dump() == {
        "folds": 1,
        "mean": 0.5,
        "standard_deviation": None,
        "low": None,
        "high": None,
    }
    assert found["r2"].high == 1.0 and (found["r2"].low or 0) < -0.2
    assert found["mae"].low == 0.0 and (found["mae"].high or 0) > 1
    assert found["own"].high == 1.0


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = summarize((0.5, 0.5), 1.0)
    assert (found.standard_deviation, found.low, found.high) == (0.0, 0.5, 0.5)
