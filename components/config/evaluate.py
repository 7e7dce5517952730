"""Options of the evaluation and the gate, and the names of the metrics that can have a minimum."""

from __future__ import annotations

import difflib
import math
import re
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from components.config.section import Section
from components.config.task import TaskKind
from components.errors import shorten_value

METRICS: dict[TaskKind, tuple[str, ...]] = {
    "single_label": ("accuracy", "macro_f1"),
    "multi_label": ("micro_f1", "macro_f1", "subset_accuracy"),
    "regression": ("r2", "spearman", "rmse", "mae"),
}
"""The metrics of all test rows that can have a limit, by kind of task."""
CLASS_METRICS = ("precision", "recall", "f1")
"""Those of one class, for the kinds that have classes."""
MAXIMA = ("rmse", "mae")
"""Errors, in the units of the data: their limit is the largest value, not the smallest."""
THRESHOLD_DECIMALS = 4
_CLASS_METRIC = re.compile(r"([^\[\]]*)\[(.+)\]", re.DOTALL)


class MetricName(NamedTuple):
    """A metric of the test rows; `class_name` is that of a metric of one class, else None."""

    metric: str
    class_name: str | None = None


def parse_metric_name(name: str) -> MetricName:
    """The metric that a name such as `macro_f1` or `recall[spam]` means; ValueError for another."""
    match = _CLASS_METRIC.fullmatch(name)
    if match and match[1] in CLASS_METRICS:
        return MetricName(match[1], match[2])
    all_names = [each for names in METRICS.values() for each in names]
    if name in all_names:
        return MetricName(name)
    metric = match[1] if match else name
    known = all_names if match is None else CLASS_METRICS
    similar = difflib.get_close_matches(metric, known, n=1)
    suggestion = f"; did you mean {name.replace(metric, similar[0], 1)}?" if similar else ""
    listed = "; with ".join(
        list_metric_names(kind)
        if kind == "single_label"
        else f"task.kind={kind} {list_metric_names(kind)}"
        for kind in METRICS
    )
    raise ValueError(f"no metric {name!r}; the metrics are {listed}{suggestion}")


def list_metric_names(kind: TaskKind) -> str:
    """The metrics of a kind of task that can have a limit, for messages."""
    classes = () if kind == "regression" else CLASS_METRICS
    return ", ".join([*METRICS[kind], *(f"{each}[CLASS]" for each in classes)])


def is_reached(metric: str, value: float | None, limit: float) -> bool:
    """Whether a metric reaches its limit: at least it, of MAXIMA at most it; None never does."""
    if value is None:
        return False
    return value <= limit if metric in MAXIMA else value >= limit


def check_metrics(config: EvaluateConfig, kind: TaskKind) -> None:
    """ValueError for limits of metrics that the kind of task does not have."""
    for name in config.minimum:
        found = parse_metric_name(name)
        has_metric = kind != "regression" if found.class_name else found.metric in METRICS[kind]
        if not has_metric:
            raise ValueError(
                f"evaluate.minimum: task.kind={kind} has no metric {shorten_value(name)}; its "
                f"metrics are {list_metric_names(kind)}"
            )
    for option, metric in (("min_accuracy", "accuracy"), ("min_macro_f1", "macro_f1")):
        if (value := getattr(config, option)) and metric not in METRICS[kind]:
            raise ValueError(
                f"evaluate.{option} {value}: task.kind={kind} has no {metric}; set it to 0, and a "
                f"limit in evaluate.minimum ({list_metric_names(kind)})"
            )


class EvaluateConfig(Section):
    """What is measured, and what a model must reach to be released."""

    min_accuracy: float = Field(
        0.0, ge=0, le=1, description="test accuracy below which the gate refuses the model"
    )
    min_macro_f1: float = Field(
        0.0,
        ge=0,
        le=1,
        description="macro-F1 on the test rows below which the gate refuses the model; "
        "0: no minimum",
    )
    minimum: dict[str, float] = Field(
        {},
        description="fraction that each metric must reach on the test rows, by name: accuracy, "
        "macro_f1, "
        "precision[CLASS], recall[CLASS], f1[CLASS]; the gate refuses a model that misses one. "
        "`min_accuracy` and `min_macro_f1` are short forms, and hold as well. With a limit of "
        "macro-F1 or of a class, the model must be above the macro-F1 of always answering the most "
        "frequent class, instead of its accuracy. With "
        "task.kind=multi_label: micro_f1, macro_f1, subset_accuracy and those of classes; with "
        "task.kind=regression: r2 and spearman, and for rmse and mae, in the units of the data, "
        "the largest value instead of the smallest",
    )
    champion_margin: float = Field(
        0.0,
        strict=True,
        ge=-1,
        le=1,
        description="difference of accuracy to the released model on the same test rows that the "
        "gate demands: 0: not worse; -0.01: at most 0.01 worse; 0.01: at least 0.01 better; with "
        "task.kind=multi_label of micro-F1, with task.kind=regression of R2",
    )
    champion_rule: Literal["difference", "interval"] = Field(
        "difference",
        description="what must reach `champion_margin`: difference: the one that is measured; "
        "interval: the lower end of its 95% interval, so that it is hardly by chance",
    )
    allow_unpredicted_classes: bool = Field(
        False,
        description="release a model even if it never predicts a class that has test rows",
    )
    threshold: Literal["none"] | float | dict[Literal["precision"], float] = Field(
        "none",
        description="score, a fraction, below which the served model says that an answer is not "
        "confident: none: it does not say; a number above 0 and below 1; or {precision: P}: the "
        "smallest one with which a share P of the confident answers is right on the validation "
        "rows",
    )
    batch_size: int = Field(128, ge=1, description="rows per evaluation step")
    workers: Literal["auto"] | int = Field(
        "auto",
        description="workers that score the test rows, for the evaluation and for the gate's "
        "champion: processes, with cluster.backend=jobset pods like those of training; 0: the "
        "step's own process; auto: with jobset as many as `train.workers` where the step's pod "
        "would take more than about 10 minutes by test tokens x parameters, else 0",
    )
    max_reported_errors: int = Field(
        20,
        ge=0,
        description="most confident misclassifications in the report, with their texts, of numbers "
        "the largest errors; 0: the report contains no texts",
    )
    explain_errors: int = Field(
        5,
        strict=True,
        ge=0,
        le=50,
        description="most confident misclassifications, or largest errors of numbers, that the "
        "report explains word by word; fewer, or in fewer steps, if that would take longer than "
        "about two minutes on two cores; 0: none",
    )

    @field_validator("minimum", mode="before")
    @classmethod
    def _check_minimum(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be minima by the names of metrics, such as {macro_f1: 0.8}")
        for name, limit in value.items():
            metric = parse_metric_name(str(name)).metric
            if metric in MAXIMA:
                if not _is_number(limit) or not 0 < limit < math.inf:
                    raise ValueError(
                        f"the limit of {name}, its largest value, must be a number above 0, "
                        f"not {limit!r}"
                    )
            elif not _is_number(limit) or not 0 <= limit <= 1:
                raise ValueError(
                    f"the minimum of {name} must be a number from 0 to 1, not {limit!r}"
                )
        return {str(name): float(limit) for name, limit in value.items()}

    @field_validator("threshold", mode="before")
    @classmethod
    def _check_threshold(cls, value: Any) -> Any:
        if value == "none":
            return value
        if isinstance(value, dict):
            if set(value) != {"precision"}:
                raise ValueError("a mapping has the key precision alone, such as {precision: 0.95}")
            if not _is_number(value["precision"]) or not 0 < value["precision"] <= 1:
                raise ValueError(
                    f"the precision must be a number above 0, at most 1, not {value['precision']!r}"
                )
            return {"precision": float(value["precision"])}
        if not _is_number(value) or not 0 < value < 1:
            raise ValueError("must be none, a number above 0 and below 1, or {precision: P}")
        if round(value, THRESHOLD_DECIMALS) != value:
            raise ValueError(f"must have at most {THRESHOLD_DECIMALS} decimals")
        return float(value)

    @property
    def fixed_threshold(self) -> float | None:
        """The threshold that is given as a number."""
        return self.threshold if isinstance(self.threshold, float) else None

    @property
    def demanded_precision(self) -> float | None:
        """The precision that the threshold is chosen for."""
        return self.threshold["precision"] if isinstance(self.threshold, dict) else None

    @field_validator("workers", mode="before")
    @classmethod
    def _check_workers(cls, value: Any) -> Any:
        if value == "auto" or (type(value) is int and value >= 0):
            return value
        raise ValueError(f"must be auto, or an integer of at least 0, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def list_minimum_classes(config: EvaluateConfig) -> tuple[str, ...]:
    """The classes that `evaluate.minimum` names, each once, in their order."""
    names = (parse_metric_name(name).class_name for name in config.minimum)
    return tuple(dict.fromkeys(name for name in names if name is not None))
