from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from components.artifacts.predictions import Predictions
from components.config.schema import EvaluateConfig
from components.errors import DataError
from components.gate.requirements import ClassCounts, Failure, count_classes
from components.gate.requirements import list_failures as list_all_failures

HAM_AND_SPAM = ("ham", "spam")
ALL_HAM = ClassCounts({"ham": 570, "spam": 30}, {"ham": 600, "spam": 0}, correct=570)
BETTER = ClassCounts({"ham": 570, "spam": 30}, {"ham": 590, "spam": 10}, correct=571)


def list_failures(
    config: EvaluateConfig, counts: ClassCounts, macro_f1: float | None, **values: float | None
) -> list[str]:
    """The sentences of what fails, for metrics of these values."""
    return [failure.sentence for failure in find_failures(config, counts, macro_f1, values)]


def find_failures(
    config: EvaluateConfig,
    counts: ClassCounts,
    macro_f1: float | None,
    values: Mapping[str, float | None] | None = None,
) -> list[Failure]:
    metrics = {"accuracy": counts.correct / counts.rows, "macro_f1": macro_f1, **(values or {})}
    return list_all_failures(config, counts, metrics.__getitem__)


def predictions(labels: Sequence[int], predicted: Sequence[int]) -> list[Predictions]:
    """The predictions in parts of one row."""
    return [
        Predictions(
            labels=np.array([label], np.int32),
            predicted=np.array([given], np.int32),
            scores=np.zeros((1, 2), np.float32),
        )
        for label, given in zip(labels, predicted, strict=True)
    ]


def test_rows_are_counted_by_label_and_by_prediction() -> None:
    counts = count_classes(predictions([0, 0, 1, 0], [0, 0, 0, 0]), HAM_AND_SPAM)
    assert counts == ClassCounts({"ham": 3, "spam": 1}, {"ham": 4, "spam": 0}, correct=3)
    assert (counts.rows, counts.majority_class, counts.majority_share) == (4, "ham", 0.75)
    assert counts.unpredicted_classes == {"spam": 1}


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [([0, 2], [0, 0]), ([0, -1], [0, 0]), ([0, 0], [0, 2])],
    ids=["label", "negative", "prediction"],
)
def test_a_class_index_out_of_range_is_refused(labels: list[int], predicted: list[int]) -> None:
    with pytest.raises(DataError, match="but there are 2 classes"):
        count_classes(predictions(labels, predicted), HAM_AND_SPAM)


def test_of_equally_frequent_classes_the_first_is_the_majority() -> None:
    counts = ClassCounts({"a": 1, "b": 2, "c": 2}, {"a": 1, "b": 2, "c": 2}, correct=5)
    assert (counts.majority_class, counts.majority_rows) == ("b", 2)


def test_a_class_without_test_rows_need_not_be_predicted() -> None:
    counts = ClassCounts({"a": 2, "b": 2, "c": 0}, {"a": 2, "b": 2, "c": 0}, correct=4)
    assert counts.unpredicted_classes == {}
    assert list_failures(EvaluateConfig(), counts, 1.0) == []


FINDS_SPAM = ClassCounts({"ham": 570, "spam": 30}, {"ham": 540, "spam": 60}, correct=568)
LIMITS = {
    "macro-F1": EvaluateConfig(minimum={"macro_f1": 0.6}),
    "its short form": EvaluateConfig(min_macro_f1=0.6),
    "a class": EvaluateConfig(minimum={"recall[spam]": 0.9}),
}


@pytest.mark.parametrize("config", LIMITS.values(), ids=LIMITS)
def test_with_a_limit_of_rare_classes_the_constant_answer_is_compared_by_macro_f1(
    config: EvaluateConfig,
) -> None:
    values = {"recall[spam]": 0.95}
    assert find_failures(config, FINDS_SPAM, 0.8, values) == []
    (failure,) = find_failures(EvaluateConfig(), FINDS_SPAM, 0.8, values)
    assert failure.rule == "majority"
    assert FINDS_SPAM.describe_majority(config) == (
        'always predicting "ham" reaches accuracy 0.9500 and macro-F1 0.4872'
    )


def test_a_model_below_the_macro_f1_of_the_constant_answer_fails() -> None:
    config = EvaluateConfig(minimum={"recall[spam]": 0.9}, allow_unpredicted_classes=True)
    (failure,) = find_failures(config, FINDS_SPAM, 0.4871, {"recall[spam]": 0.95})
    assert failure == Failure(
        "majority",
        'macro-F1 0.4871 is not above the 0.4872 that always predicting "ham" reaches; add rows of '
        "the other classes, or train longer.",
    )
    assert find_failures(config, ALL_HAM, 2 * 570 / (600 + 570) / 2, {"recall[spam]": 0.95})


@pytest.mark.parametrize(
    "minimum", [{"accuracy": 0.9}, {"recall[spam]": 0.0}], ids=["accuracy", "no limit"]
)
def test_without_such_a_limit_it_is_compared_by_accuracy(minimum: dict[str, float]) -> None:
    config = EvaluateConfig(minimum=minimum)
    (failure,) = find_failures(config, FINDS_SPAM, 0.8, {"recall[spam]": 0.95})
    assert failure.sentence.startswith("accuracy 0.9467")


def test_a_model_that_says_what_always_the_majority_says_fails() -> None:
    (majority, unpredicted) = list_failures(EvaluateConfig(), ALL_HAM, 0.4872)
    assert majority == (
        "accuracy 0.9500 (570 of 600 test rows) is not above the 0.9500 that always predicting "
        '"ham" reaches; add rows of the other classes, or train longer.'
    )
    assert unpredicted == (
        'never predicted although the test rows have it: "spam" (30 test rows); add rows of each '
        "such class, or train longer; evaluate.allow_unpredicted_classes=true allows it."
    )


@pytest.mark.parametrize(
    ("correct", "failures"), [(569, 1), (570, 1), (571, 0)], ids=["below", "equal", "above"]
)
def test_a_candidate_must_beat_the_majority_share(correct: int, failures: int) -> None:
    counts = ClassCounts(BETTER.labels, BETTER.predictions, correct)
    assert len(list_failures(EvaluateConfig(), counts, 0.5)) == failures


def test_unpredicted_classes_are_allowed_by_their_option_alone() -> None:
    counts = ClassCounts({"a": 6, "b": 3, "c": 1}, {"a": 7, "b": 3, "c": 0}, correct=9)
    (failure,) = list_failures(EvaluateConfig(), counts, 0.6)
    assert failure.startswith('never predicted although the test rows have it: "c" (1 test row); ')
    assert list_failures(EvaluateConfig(allow_unpredicted_classes=True), counts, 0.6) == []
    allowed = EvaluateConfig(allow_unpredicted_classes=True)
    (majority,) = list_failures(allowed, ALL_HAM, 0.4872)
    assert "is not above the 0.9500" in majority


def test_of_many_unpredicted_classes_the_first_five_are_named() -> None:
    labels = {f"class {number}": 2 for number in range(9)}
    counts = ClassCounts(labels, {**dict.fromkeys(labels, 0), "class 0": 18}, correct=3)
    (failure,) = list_failures(EvaluateConfig(), counts, 0.1)
    assert '"class 5" (2 test rows), 3 more; ' in failure
    assert '"class 6"' not in failure


def test_a_long_class_name_is_cut() -> None:
    counts = ClassCounts({"x" * 300: 2, "b": 1}, {"x" * 300: 3, "b": 0}, correct=2)
    assert all(len(failure) < 260 for failure in list_failures(EvaluateConfig(), counts, 0.4))


@pytest.mark.parametrize(
    ("minimum", "macro_f1", "expected"),
    [
        pytest.param(0.0, None, [], id="no minimum"),
        pytest.param(0.6, 0.6, [], id="equal"),
        pytest.param(0.6, 0.5999, ["macro-F1 0.5999 is below min_macro_f1 0.6000."], id="below"),
        pytest.param(
            0.6,
            None,
            [
                "macro-F1 is undefined, so min_macro_f1 0.6000 is not reached; "
                "add test rows of more classes."
            ],
            id="undefined",
        ),
    ],
)
def test_macro_f1_must_reach_its_minimum(
    minimum: float, macro_f1: float | None, expected: list[str]
) -> None:
    assert list_failures(EvaluateConfig(min_macro_f1=minimum), BETTER, macro_f1) == expected


def test_every_failed_requirement_is_named() -> None:
    config = EvaluateConfig(
        min_accuracy=0.96, min_macro_f1=0.6, minimum={"recall[spam]": 0.8, "accuracy": 0.951}
    )
    failures = find_failures(config, ALL_HAM, ALL_HAM.majority_macro_f1, {"recall[spam]": 0.0})
    assert {failure.rule: failure.sentence[:50] for failure in failures} == {
        "min_accuracy": "accuracy 0.9500 (570 of 600 test rows) is below mi",
        "majority": "macro-F1 0.4872 is not above the 0.4872 that alway",
        "min_macro_f1": "macro-F1 0.4872 is below min_macro_f1 0.6000.",
        "recall[spam]": 'the recall of "spam" 0.0000 is below its minimum 0',
        "accuracy": "accuracy 0.9500 is below its minimum 0.9510.",
        "unpredicted_classes": 'never predicted although the test rows have it: "s',
    }


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("recall[spam]", 0.8, [], id="equal"),
        pytest.param(
            "f1[a [b]]", 0.7999, ['the F1 of "a [b]" 0.7999 is below its minimum 0.8000.'], id="f1"
        ),
        pytest.param(
            "precision[spam]",
            None,
            [
                'the precision of "spam" is undefined, so its minimum 0.8000 is not reached; no '
                "test row was given this class: add training rows of it, or train longer."
            ],
            id="never-predicted",
        ),
        pytest.param(
            "recall[spam]",
            None,
            [
                'the recall of "spam" is undefined, so its minimum 0.8000 is not reached; no test '
                "row has this class: add some."
            ],
            id="no-test-rows",
        ),
    ],
)
def test_each_metric_must_reach_its_minimum(
    name: str, value: float | None, expected: list[str]
) -> None:
    config = EvaluateConfig(minimum={"accuracy": 0.9, name: 0.8})
    assert list_failures(config, BETTER, 0.5, **{name: value}) == expected


def test_test_rows_of_one_class_are_not_compared_with_the_majority() -> None:
    counts = ClassCounts({"ham": 20, "spam": 0}, {"ham": 20, "spam": 0}, correct=20)
    assert list_failures(EvaluateConfig(), counts, None) == [
        "all test rows are of one class, so accuracy 1.0000 (20 of 20 test rows) proves nothing."
    ]
    assert len(list_failures(EvaluateConfig(min_macro_f1=0.1), counts, None)) == 2
