"""The `task` section: what is predicted of a text, and which options fit that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from components.config.section import Section
from components.errors import shorten_value

if TYPE_CHECKING:
    from components.config.data import DataConfig
    from components.config.schema import Config, TrainConfig

TaskKind = Literal["single_label", "multi_label", "regression"]
"""What is predicted of a text: one of the classes, any number of them, or a number."""
BestMetric = Literal["accuracy", "loss", "macro_f1", "micro_f1", "subset_accuracy"]
"""A validation metric that selects the best epoch."""
BEST_METRICS: dict[TaskKind, tuple[BestMetric, ...]] = {
    "single_label": ("accuracy", "loss", "macro_f1"),
    "multi_label": ("micro_f1", "macro_f1", "loss", "subset_accuracy"),
    "regression": ("loss",),
}
"""The metrics that can select the best epoch, by kind of task; the first one is the default."""


class TaskConfig(Section):
    """What is predicted of a text: one class, several, or a number."""

    kind: TaskKind = Field(
        "single_label",
        description="what is predicted of a text: single_label: one of the classes; multi_label: "
        "any number of them, also none; regression: a number",
    )
    separator: str | None = Field(
        None,
        min_length=1,
        description="multi_label: what stands between the labels in a field of `data.label`, such "
        "as |; default: none, for a column of lists or `data.label` with several columns",
    )

    @field_validator("separator")
    @classmethod
    def _check_separator(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() and value != "\t") and value != " ":
            raise ValueError("must be one or more characters, such as | or ;")
        return value

    @model_validator(mode="after")
    def _check_kind(self) -> TaskConfig:
        if self.separator is not None and self.kind != "multi_label":
            raise ValueError(
                f"separator {self.separator!r}: only a text of task.kind=multi_label has several "
                f"labels; here task.kind is {self.kind}"
            )
        return self


def check_task(config: Config) -> None:
    """ValueError, naming the option, for options that do not fit the kind of task."""
    check_data_options(config.data, config.task)
    check_training_options(config.train, config.task.kind)
    kind = config.task.kind
    if kind != "single_label" and config.evaluate.threshold != "none":
        raise ValueError(
            f"evaluate.threshold: says which answers are confident where a text has one class; "
            f"leave it out with task.kind={kind}"
        )
    if kind != "single_label" and config.export.calibrate != "none":
        raise ValueError(
            f"export.calibrate {config.export.calibrate}: calibrates the scores of "
            f"task.kind=single_label; leave it out with task.kind={kind}"
        )


def check_data_options(data: DataConfig, task: TaskConfig) -> None:
    """ValueError if the label columns or the classes do not fit the kind of task."""
    kind = task.kind
    if len(data.label_columns) > 1:
        _check_label_columns(data, task)
    joined = [name for name in data.classes or () if task.separator and task.separator in name]
    if joined:
        raise ValueError(
            f"task.separator {task.separator!r}: the class {shorten_value(joined[0])!r} of "
            "data.classes has it in its name, so that no field could hold it; choose another one"
        )
    if kind == "regression" and data.classes is not None:
        raise ValueError("data.classes: task.kind=regression predicts a number; leave it out")
    if kind == "regression" and data.stratify:
        raise ValueError(
            "data.stratify: gives each split its share of every class, and task.kind=regression "
            "has none; leave it out"
        )


def _check_label_columns(data: DataConfig, task: TaskConfig) -> None:
    if task.kind != "multi_label":
        raise ValueError(
            f"data.label: {len(data.label)} columns, one for each label, are for "
            f"task.kind=multi_label; here task.kind is {task.kind}"
        )
    if data.classes is not None:
        raise ValueError(
            "data.classes: the names of the columns in data.label are the classes; leave it out"
        )
    if task.separator is not None:
        raise ValueError(
            "task.separator: each column in data.label is one label, and says 0 or 1; leave it out"
        )
    if len(data.label) > data.max_classes:
        raise ValueError(
            f"data.label: {len(data.label)} columns, data.max_classes allows {data.max_classes}"
        )


def check_training_options(train: TrainConfig, kind: TaskKind) -> None:
    """ValueError if an option of training has no meaning for the kind of task."""
    allowed = BEST_METRICS[kind]
    if train.best_metric != "auto" and train.best_metric not in allowed:
        raise ValueError(
            f"train.best_metric {train.best_metric}: with task.kind={kind} it is one of "
            f"{', '.join(('auto', *allowed))}"
        )
    if kind == "regression" and train.class_weights != "none":
        raise ValueError("train.class_weights: task.kind=regression has no classes; leave it out")
    if kind == "regression" and train.label_smoothing:
        raise ValueError("train.label_smoothing: task.kind=regression has no classes; leave it out")


def resolve_best_metric(train: TrainConfig, kind: TaskKind) -> TrainConfig:
    """The options with `best_metric` auto replaced by what it means for the kind of task."""
    if train.best_metric != "auto":
        return train
    return train.model_copy(update={"best_metric": BEST_METRICS[kind][0]})


def describe_labels(label: str | tuple[str, ...]) -> str:
    """The label column or columns, quoted, for messages."""
    if isinstance(label, str):
        return f"column {label!r}"
    return "columns " + ", ".join(repr(shorten_value(name)) for name in label)
