"""A round is one epoch of training, from before its first batch to before validation."""

from __future__ import annotations

import time

import pytest

from benchmarks.baselines.training_kubert import EpochMeasurement


class Recorder:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.extra: dict[str, float] = {}

    def wait_for_start(self) -> None:
        self.log.append("begin")

    def report_measurement(self, examples: int, **more: float) -> None:
        self.log.append(f"end {examples}")
        self.extra = more


def test_a_round_is_the_training_of_an_epoch_and_counts_the_waiting() -> None:
    rounds = Recorder()
    callback = EpochMeasurement(rounds)  # type: ignore[arg-type]
    started = time.perf_counter()
    callback.on_epoch_begin(5)
    for _ in range(2):
        callback.on_batch_begin()
        time.sleep(0.02)
        callback.on_step_begin()
        time.sleep(0.03)
    callback.on_validation_begin()
    seconds = time.perf_counter() - started
    assert rounds.log == ["begin", "end 5"]
    waits = rounds.extra["first_wait"], rounds.extra["other_waits"]
    assert min(waits) >= 0.02
    assert sum(waits) <= seconds - 2 * 0.03, "the steps are no waiting"
    assert 0.05 <= rounds.extra["step_wall"] <= seconds
    assert rounds.extra["feature_cpu"] == 0.0


def test_the_cpu_time_of_features_is_that_of_training_rows_without_the_first_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([10.0, 12.0, 16.0, *[20.0] * 9])
    monkeypatch.setattr("benchmarks.baselines.training_kubert.cpu_seconds", lambda: next(clock))
    rounds = Recorder()
    callback = EpochMeasurement(rounds)  # type: ignore[arg-type]
    for split, rows in (("train", 64), ("train", 64), ("validation", 64), ("train", 36)):
        callback.on_features_computed(split, rows)  # type: ignore[arg-type]
    callback.on_epoch_begin(5)
    callback.on_batch_begin()
    callback.on_step_begin()
    callback.on_validation_begin()
    assert rounds.extra["feature_cpu"] == pytest.approx(6 / 100)


def test_outcomes_that_are_read_while_the_next_step_runs_are_counted() -> None:
    rounds = Recorder()
    callback = EpochMeasurement(rounds)  # type: ignore[arg-type]
    callback.on_epoch_begin(3)
    for step in range(3):
        callback.on_batch_begin()
        callback.on_step_begin()
        if step:
            callback.on_step_end()
    callback.on_step_end()
    callback.on_validation_begin()
    counted = [rounds.extra[key] for key in ("steps", "outcomes", "late_outcomes")]
    assert counted == [3, 3, 2]
