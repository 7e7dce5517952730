"""The rows of `kubert models`, by the kind of task of a release."""

from __future__ import annotations

import pytest

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from pipeline.api.models import _quality_columns
from pipeline.cli.commands.releases.models import _format_cell
from tests.support.kinds.release_contents import MULTI_LABEL, REGRESSION, describe_task_release


@pytest.mark.parametrize(
    ("task", "columns", "cell"),
    [
        pytest.param(
            SINGLE_LABEL,
            {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6},
            "0.5000 (0.4000-0.6000)",
            id="single-label",
        ),
        pytest.param(
            MULTI_LABEL,
            {"task": "multi_label", "micro_f1": 0.75, "micro_f1_low": 0.7, "micro_f1_high": 0.8},
            "0.7500 (0.7000-0.8000)",
            id="multi-label",
        ),
        pytest.param(
            REGRESSION,
            {"task": "regression", "rmse": 4.5, "rmse_low": 4.0, "rmse_high": 5.0},
            "4.5000 (4.0000-5.0000)",
            id="regression",
        ),
    ],
)
def test_a_version_has_the_main_metric_of_its_kind(
    task: TaskInfo, columns: dict[str, object], cell: str
) -> None:
    content = describe_task_release(task)
    assert _quality_columns(content) == columns
    assert _format_cell(columns, content.main_metric.name) == cell


def test_a_damaged_version_has_the_columns_of_single_labels() -> None:
    none = dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high"))
    assert _quality_columns(None) == none
