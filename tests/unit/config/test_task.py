"""The section `task`: options that have no meaning for a kind of task are refused by name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.config.loading import validate_config
from components.config.schema import Config, DataConfig, TaskConfig, TrainConfig
from components.config.task import (
    BEST_METRICS,
    TaskKind,
    check_data_options,
    check_training_options,
    resolve_best_metric,
)
from components.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("single_label", {"label": ["a", "b"]}, "data.label: 2 columns, .* task.kind=multi_label"),
        ("regression", {"label": ["a", "b"]}, "here task.kind is regression"),
        ("multi_label", {"label": ["a", "b"], "classes": ["x", "y"]}, "data.classes: the names"),
        ("multi_label", {"label": ["a", "b", "c"], "max_classes": 2}, "data.max_classes allows 2"),
        ("regression", {"classes": ["x", "y"]}, "data.classes: task.kind=regression"),
        ("regression", {"stratify": True}, "data.stratify: "),
    ],
)
def test_data_options_are_refused(kind: TaskKind, data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_data_options(DataConfig.model_validate(data), TaskConfig(kind=kind))


@pytest.mark.parametrize(
    ("kind", "train", "message"),
    [
        ("regression", {"class_weights": "balanced"}, "train.class_weights"),
        ("regression", {"label_smoothing": 0.1}, "train.label_smoothing"),
        ("regression", {"best_metric": "accuracy"}, "it is one of auto, loss"),
        ("single_label", {"best_metric": "micro_f1"}, "one of auto, accuracy, loss, macro_f1"),
        ("multi_label", {"best_metric": "accuracy"}, "auto, micro_f1, .*, subset_accuracy"),
    ],
)
def test_training_options_are_refused(kind: TaskKind, train: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_training_options(TrainConfig.model_validate(train), kind)


@pytest.mark.parametrize("kind", BEST_METRICS)
def test_every_kind_has_a_metric_that_selects_the_best_epoch(kind: TaskKind) -> None:
    resolved = resolve_best_metric(TrainConfig(), kind)
    assert resolved.best_metric == BEST_METRICS[kind][0]
    check_training_options(resolved, kind)
    assert resolve_best_metric(TrainConfig(best_metric="loss"), kind).best_metric == "loss"


@pytest.mark.parametrize(
    "values", [{"separator": "|"}, {"kind": "multi_label", "separator": ""}, {"kind": "ordinal"}]
)
def test_wrong_sections_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"separator|kind"):
        TaskConfig.model_validate(values)


NAMED_CLASSES: list[tuple[dict[str, Any], TaskKind, str]] = [
    ({"classes": ["spam", "ham"]}, "single_label", "data.classes"),
    ({"classes": ["spam", "ham"]}, "multi_label", "data.classes"),
    ({"label": ["spam", " ham "]}, "multi_label", "data.label"),
]
"""Sections that name the classes `spam` and `ham`, and by which option."""


@pytest.mark.parametrize(("data", "kind", "option"), NAMED_CLASSES)
def test_a_minimum_for_a_class_that_the_configuration_does_not_name_is_refused(
    data: dict[str, Any], kind: TaskKind, option: str
) -> None:
    def load(name: str) -> Config:
        values = {"data": data, "task": {"kind": kind}}
        return Config.model_validate({**values, "evaluate": {"minimum": {f"recall[{name}]": 0.5}}})

    assert load("ham").evaluate.minimum == {"recall[ham]": 0.5}
    with pytest.raises(ValueError, match=f"evaluate.minimum: {option} has no class 'eggs'"):
        load("eggs")


@pytest.mark.parametrize(("data", "kind", "option"), NAMED_CLASSES)
def test_weights_that_do_not_fit_the_classes_of_the_configuration_are_refused(
    data: dict[str, Any], kind: TaskKind, option: str
) -> None:
    def load(*names: str) -> Config:
        values = {"data": data, "task": {"kind": kind}}
        weights = dict.fromkeys(names, 2.0)
        return Config.model_validate({**values, "train": {"class_weights": weights}})

    assert load("spam", "ham").train.class_weights == {"spam": 2.0, "ham": 2.0}
    with pytest.raises(ValueError, match=f"train.class_weights: {option} has no class 'eggs'"):
        load("spam", "ham", "eggs")
    with pytest.raises(ValueError, match=f"train.class_weights: no weight for 'ham' of {option}"):
        load("spam")


@pytest.mark.parametrize("label", [["a"], ["a", "a"], ["a", " a"], ["a", ""]], ids=str)
def test_a_list_of_label_columns_has_two_different_names(label: list[str]) -> None:
    with pytest.raises(ValueError, match="at least two different columns"):
        DataConfig.model_validate({"label": label})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"score": {"embeddings": True, "all_scores": True}}, "leave out score.all_scores"),
        ({"score": {"embeddings": True, "format": "csv"}}, "use score.format=parquet or jsonl"),
        (
            {"task": {"kind": "regression"}, "score": {"all_scores": True}},
            "score.all_scores: the model of task.kind=regression predicts numbers",
        ),
        (
            {
                "task": {"kind": "multi_label"},
                "data": {"label": ["a|b", "c"]},
                "score": {"format": "csv"},
            },
            r"score.separator '\|': the class 'a\|b' has it in its name",
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_with_the_configuration(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Config.model_validate(values)


def test_the_model_that_scores_may_be_another_one() -> None:
    score = {"release": "models/news", "all_scores": True, "format": "csv"}
    for kind, data in (("regression", {}), ("multi_label", {"label": ["a|b", "c"]})):
        config = Config.model_validate({"task": {"kind": kind}, "data": data, "score": score})
        assert config.score.all_scores


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        ({"train": {"best_metric": "rmse"}}, ["train.best_metric: .*'auto', 'accuracy', "]),
        ({"data": {"label": None}}, [r"data.label: must be text or a list \(given: None\)"]),
        (
            {"score": {"source": [1]}},
            ["score.source: must be text or a list", "score.source: .* valid string"],
        ),
    ],
)
def test_an_option_of_several_types_is_named_as_it_is_written(
    section: dict[str, Any], lines: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_config(section)
    _, *shown = str(caught.value).splitlines()
    assert len(shown) == len(lines)
    assert all(re.match(f"  {line}", text) for line, text in zip(lines, shown, strict=True))


@pytest.mark.parametrize("classes", [["", "a"], [" ", "a"], [" a", "b"]], ids=str)
def test_classes_that_no_label_can_be_are_refused(classes: list[str]) -> None:
    with pytest.raises(ValueError, match="a name is blank, or has space around it"):
        DataConfig.model_validate({"classes": classes})


def test_a_separator_that_is_in_the_name_of_a_class_is_refused() -> None:
    def load(separator: str) -> Config:
        task = {"kind": "multi_label", "separator": separator}
        return Config.model_validate({"task": task, "data": {"classes": ["a;b", "c"]}})

    assert load("|").data.classes == ("a;b", "c")
    with pytest.raises(ValueError, match=r"task\.separator ';': the class 'a;b'"):
        load(";")
