"""What the scores of a release mean, by its kind of task."""

from __future__ import annotations

import numpy as np
import pytest

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.serving.predict import (
    AnyPrediction,
    LabelsPrediction,
    Prediction,
    ValuePrediction,
    format_prediction,
    read_predictions,
)
from pipeline.cli.commands.releases.predict import _list_columns
from tests.support.kinds.release_contents import (
    MULTI_LABEL,
    REGRESSION,
    THRESHOLDS,
    describe_task_release,
)

SCORES = np.array([[0.5, 0.25, 0.75], [0.25, 0.125, 0.5]], np.float32)


def read(task: TaskInfo, scores: np.ndarray = SCORES) -> list[AnyPrediction]:
    return list(read_predictions(describe_task_release(task), ["a", "b"], scores))


def test_a_single_label_is_the_class_with_the_largest_score() -> None:
    first, _ = read(SINGLE_LABEL)
    scores = {"calm": 0.5, "loud": 0.25, "odd": 0.75}
    assert first == Prediction("a", "odd", scores, None)
    fields = {"text": "a", "label": "odd", "scores": scores}
    assert format_prediction(first, ("text",)) == fields
    assert _list_columns(first) == ["odd", "0.7500"]


def test_several_labels_are_those_whose_scores_reach_their_thresholds() -> None:
    first, second = read(MULTI_LABEL)
    assert isinstance(first, LabelsPrediction) and isinstance(second, LabelsPrediction)
    assert (first.labels, second.labels) == (("calm", "odd"), ())
    assert format_prediction(second, ("text",)) == {
        "text": "b",
        "labels": [],
        "scores": {"calm": 0.25, "loud": 0.125, "odd": 0.5},
    }
    assert _list_columns(first) == ["calm,odd", "0.5000,0.7500"]
    assert _list_columns(second) == ["-", "-"]


def test_a_score_is_compared_with_its_threshold_in_float32() -> None:
    content = describe_task_release(MULTI_LABEL).model_copy(update={"thresholds": (0.1, 0.7, 1)})
    scores = np.array([[0.1, 0.7, 0.9]], np.float32)  # 0.1 is larger in float32, 0.7 is smaller
    (found,) = read_predictions(content, ["a"], scores)
    assert isinstance(found, LabelsPrediction)
    assert found.labels == ("calm", "loud")


def test_a_number_has_the_digits_of_a_float32() -> None:
    first, second = read(REGRESSION, np.array([[40.1], [-1234567.0]], np.float32))
    assert first == ValuePrediction("a", 40.1)
    assert format_prediction(first, ("text",)) == {"text": "a", "value": 40.1}
    assert (_list_columns(first), _list_columns(second)) == (["40.1"], ["-1234567.0"])


def test_a_pair_is_named_by_the_inputs() -> None:
    (found,) = read_predictions(
        describe_task_release(REGRESSION), [("x", "y")], np.zeros((1, 1), np.float32)
    )
    fields = {"text": {"question": "x", "answer": "y"}, "value": 0.0}
    assert format_prediction(found, ("question", "answer")) == fields


@pytest.mark.parametrize(
    ("task", "change"),
    [
        pytest.param(MULTI_LABEL, {"thresholds": THRESHOLDS[:2]}, id="a-threshold-is-missing"),
        pytest.param(SINGLE_LABEL, {"thresholds": THRESHOLDS}, id="thresholds-of-one-label"),
        pytest.param(SINGLE_LABEL, {"accuracy": None}, id="no-accuracy"),
        pytest.param(MULTI_LABEL, {"accuracy": 0.5}, id="accuracy-of-several-labels"),
        pytest.param(REGRESSION, {"classes": ("a", "b")}, id="classes-of-numbers"),
        pytest.param(MULTI_LABEL, {"classes": (), "thresholds": ()}, id="no-classes"),
    ],
)
def test_a_description_that_does_not_fit_its_kind_of_task_is_refused(
    task: TaskInfo, change: dict[str, object]
) -> None:
    fields = describe_task_release(task).model_dump()
    with pytest.raises(ValueError, match="a release"):
        type(describe_task_release(task)).model_validate(fields | change)
