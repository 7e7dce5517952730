"""The weight of each class in the training loss (`train.class_weights`).

Needs neither TensorFlow nor NumPy: launchers check the option before any worker starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from components.artifacts.shard_metadata import SplitInfo, check_class_names, list_class_names
from components.config.schema import TrainConfig
from components.config.task import TaskKind
from components.errors import ConfigError

WeightsOption = Literal["none", "balanced"] | Mapping[str, float]


def compute_loss_weights(
    config: TrainConfig, kind: TaskKind, split: SplitInfo
) -> tuple[float, ...] | None:
    """The weight of each class in the loss of a kind of task, by its training rows; None for none.

    Raises ConfigError for weights that name an unknown class, or lack one.
    """
    if kind == "multi_label":
        return compute_positive_weights(config.class_weights, split.class_counts, split.rows)
    return compute_class_weights(config.class_weights, split.class_counts)


def compute_positive_weights(
    option: WeightsOption, class_counts: Mapping[str, int], rows: int
) -> tuple[float, ...] | None:
    """The weight of the rows that have a class, against 1 for those that do not; None for none.

    Balanced weights are (rows without it) / (rows with it), so that both weigh the same in sum. A
    class without such rows, or in all of them, has the weight 1. Raises ConfigError as
    `compute_class_weights` does.
    """
    if option == "none":
        return None
    if isinstance(option, str):
        return tuple(
            (rows - count) / count if 0 < count < rows else 1.0 for count in class_counts.values()
        )
    _check_names(option, class_counts)
    return tuple(option[name] for name in class_counts)


def compute_class_weights(
    option: WeightsOption, class_counts: Mapping[str, int]
) -> tuple[float, ...] | None:
    """The weight of each class of `class_counts`, its training rows, in their order; None for none.

    Balanced weights are rows / (k rows of the class), for the k classes that have rows. Weights by
    name are scaled so that, like those, their mean over the training rows is 1: the learning rate
    and the limit of the gradient's norm then mean the same with any weights. A class without
    training rows has the weight 1, which nothing uses.

    Raises ConfigError for weights that name an unknown class, or lack one.
    """
    if option == "none":
        return None
    rows = sum(class_counts.values())
    if isinstance(option, str):
        present = sum(count > 0 for count in class_counts.values())
        return tuple(rows / (present * count) if count else 1.0 for count in class_counts.values())
    _check_names(option, class_counts)
    total = sum(option[name] * count for name, count in class_counts.items())
    return tuple(
        option[name] * rows / total if count else 1.0 for name, count in class_counts.items()
    )


def _check_names(weights: Mapping[str, float], class_counts: Mapping[str, int]) -> None:
    check_class_names("train.class_weights", weights, [*class_counts])
    if missing := [name for name in class_counts if name not in weights]:
        raise ConfigError(
            f"train.class_weights: no weight for {list_class_names(missing)}; give one for each "
            "class, 1 for those that need none of their own"
        )
