"""A round is one epoch of training, from before its first batch to before validation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.baselines.training_kubert import Features, Gate

TRAIN, VALIDATION = range(5), range(2)


class Recorder:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.extra: dict[str, float] = {}

    def wait_for_start(self) -> None:
        self.log.append("begin")

    def report_measurement(self, examples: int, **more: float) -> None:
        self.log.append(f"end {examples}")
        self.extra = more


def test_a_round_is_the_training_of_an_epoch_and_counts_the_waiting():
    rounds = Recorder()

    def feed(_: Any, rows: Any, plan: list[str], first: int = 0) -> Iterator[str]:
        for batch in plan[first:]:
            time.sleep(0.02)
            rounds.log.append(f"read {batch}")
            yield batch

    gate = Gate(feed, rounds, len(VALIDATION), Features(lambda: None))  # type: ignore[arg-type]
    for batch in gate(None, TRAIN, ["a", "b", "c"], 1):
        time.sleep(0.03)
        rounds.log.append(f"trained {batch}")
    assert list(gate(None, VALIDATION, ["v"])) == ["v"]
    assert rounds.log == ["begin", "read b", "trained b", "read c", "trained c", "end 5", "read v"]
    assert rounds.extra["first_wait"] == pytest.approx(0.02, abs=0.015)
    assert rounds.extra["other_waits"] == pytest.approx(0.02, abs=0.015)
    assert rounds.extra["step_wall"] == pytest.approx(0.05, abs=0.04)
