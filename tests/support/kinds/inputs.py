"""Small shards and untrained checkpoints of several labels and of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.artifacts.token_shards import open_shards
from components.config.task import TaskKind
from tests.support.training.tiny_checkpoint import CLASSES, make_checkpoint, make_shards

LABELS: dict[TaskKind, list[Any]] = {
    "multi_label": [[0], [1, 2], [], [0, 1], [2], [0, 2], [1], [], [0, 1, 2], [1], [0]],
    "regression": [1.5, -2.0, 3.25, 0.0, 7.0, 2.5, -1.0, 4.0, 6.5, 5.0, 1.0],
}


def make_kind_shards(directory: Path, kind: TaskKind) -> None:
    """Shards whose splits all have the labels of the kind."""
    classes = CLASSES if kind == "multi_label" else ()
    make_shards(directory, LABELS[kind], classes=classes, kind=kind)


def make_kind_inputs(directory: Path, kind: TaskKind, *, poison: bool = False) -> Path:
    """The directory with `shards` and `checkpoint`; `poison` makes its logits NaN."""
    make_kind_shards(directory / "shards", kind)
    task = open_shards(directory / "shards").content.task
    make_checkpoint(directory / "checkpoint", task=task, poison=poison)
    return directory
