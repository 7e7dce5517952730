"""Trains and evaluates one configuration, and keeps what the tables show of it."""

from __future__ import annotations

import dataclasses
import json
import resource
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from benchmarks.suites.option_effects.decision_positions import read_positions
from benchmarks.suites.option_effects.trainings import Training
from components.artifacts.predictions import PREDICTIONS_FILENAME
from components.artifacts.report import open_single_label_report
from components.config.schema import Config
from components.evaluate import step as evaluate
from components.export import step as export
from components.gate import step as gate
from components.tokenize_text import step as tokenize_text
from components.train import step as train


@dataclass(frozen=True)
class Outcome:
    """Of one training: rows of confusion are true classes, columns predicted ones.

    `cpu_seconds` are those of the training's worker. `right` has the right answers and the rows by
    the position of the decision, for `sample:long`.
    """

    train_rows: int
    confusion: tuple[tuple[int, ...], ...]
    cpu_seconds: float
    right: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def measure_training(training: Training, home: Path) -> Outcome:
    """Run the steps of the training below `home`."""
    config = training.load()
    shards, checkpoint, report = (home / name for name in ("shards", "checkpoint", "report"))
    tokenize_text.run(config.data, config.model, config.tokenize, shards)
    before = _child_cpu_seconds()
    # Features of a frozen encoder are beside the states: variants with the same rows share them.
    state = home.parent / "frozen-state" if config.model.freeze else home / "state"
    train.run(config.model, config.train, shards, checkpoint, state)
    seconds = _child_cpu_seconds() - before
    evaluate.run(config.evaluate, shards, checkpoint, report)
    content = open_single_label_report(report).content
    if training.is_released:
        _release(config, home)
    return Outcome(
        content.data.rows["train"],
        content.confusion,
        round(seconds, 1),
        count_right_answers(report) if training.comparison == "long_texts" else {},
    )


def count_right_answers(report: Path) -> dict[str, tuple[int, int]]:
    """Right answers and rows of a report on `sample:long`, by the position of the decision."""
    with pa.ipc.open_file(str(report / PREDICTIONS_FILENAME)) as file:
        rows = file.read_all().to_pylist()
    positions = read_positions()
    counts: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in rows:
        right, total = counts[positions[row["text"]]]
        counts[positions[row["text"]]] = (right + (row["label"] == row["predicted"]), total + 1)
    return dict(counts)


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write the outcome as JSON."""
    path.write_text(json.dumps(dataclasses.asdict(outcome)) + "\n", encoding="utf-8")


def read_outcome(path: Path) -> Outcome:
    """The outcome that was written."""
    value = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(
        value["train_rows"],
        tuple(map(tuple, value["confusion"])),
        value["cpu_seconds"],
        {position: tuple(counts) for position, counts in value["right"].items()},
    )


def _release(config: Config, home: Path) -> None:
    shards, checkpoint, report = (home / name for name in ("shards", "checkpoint", "report"))
    decision = home / "decision.json"
    gate.run(config.evaluate, config.export, shards, report, decision)
    export.run(config.export, shards, checkpoint, report, decision)


def _child_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
