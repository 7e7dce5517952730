"""The weight of each class: scikit-learn's balanced ones, or those given, with a mean of 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from components.errors import ConfigError
from components.train.class_weights import compute_class_weights

COUNTS = {"spam": 30, "007": 6, "no": 4}


def test_without_weights_the_loss_has_none() -> None:
    assert compute_class_weights("none", COUNTS) is None


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat(list(COUNTS), list(COUNTS.values()))
    expected = compute_class_weight("balanced", classes=np.array(list(COUNTS)), y=labels)
    assert compute_class_weights("balanced", COUNTS) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("option", "without"),
    [("balanced", "balanced"), ({"a": 2.0, "b": 3.0, "rare": 4.0}, {"a": 2.0, "b": 3.0})],
    ids=["balanced", "by name"],
)
def test_a_class_without_training_rows_changes_no_other_weight(option: Any, without: Any) -> None:
    weights = compute_class_weights(option, {"a": 3, "rare": 0, "b": 1})
    assert weights is not None
    assert (weights[0], weights[2]) == compute_class_weights(without, {"a": 3, "b": 1})


def test_weights_by_name_are_in_the_order_of_the_classes_and_their_mean_over_the_rows_is_1() -> (
    None
):
    weights = compute_class_weights({"no": 10, "spam": 1, "007": 5}, COUNTS)
    assert weights is not None
    assert weights[1] / weights[0] == pytest.approx(5)
    assert weights[2] / weights[0] == pytest.approx(10)
    assert np.average(weights, weights=list(COUNTS.values())) == pytest.approx(1)
    assert compute_class_weights({"no": 20, "spam": 2, "007": 10}, COUNTS) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        pytest.param(
            {"spam": 1, "7": 1, "no": 1},
            "the data have no class '7'; the classes are 'spam', '007', 'no'",
            id="unknown name",
        ),
        pytest.param({"spam": 1}, "no weight for '007', 'no'", id="missing names"),
    ],
)
def test_weights_that_do_not_name_the_classes_are_refused(
    weights: Mapping[str, float], message: str
) -> None:
    """Fault T2."""
    with pytest.raises(ConfigError, match=f"^train.class_weights: {message}"):
        compute_class_weights(weights, COUNTS)
