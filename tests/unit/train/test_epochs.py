"""The outer loop with a step made of arithmetic: what it decides, it must decide the same after any stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.artifacts.checkpoint import EpochMetrics
from components.config.schema import TrainConfig
from components.errors import DataError
from components.train.loop.batch_plan import EpochPlan
from components.train.loop.epochs import (
    EpochLoop,
    NonFiniteLossError,
    PreemptionError,
    best_epoch,
    run_epochs,
)
from components.train.loop.input_pipeline import SplitInputs
from components.train.loop.train_state import TrainState
from components.train.loop.train_step import StepMetrics

ROWS, BATCH, EPOCHS = 10, 4, 3
STEPS = 3 * EPOCHS


class Recorder:
    """A keeper that keeps in memory."""

    def __init__(self) -> None:
        self.saved: list[tuple[TrainState, list[float]]] = []
        self.best: list[int] = []
        self.settled: list[int] = []

    def save(self, position: TrainState, losses: list[float]) -> None:
        self.saved.append((position, list(losses)))

    def save_best(self, position: TrainState) -> None:
        self.best.append(position.step)

    def log(self, step: int, **figures: float) -> None:
        pass


def make_loop(
    keeper: Recorder,
    *,
    stop_at: int | None = None,
    done_before: int = 0,
    validation: Callable[[int], float] = lambda check: 1 / (1 + check),
    loss: Callable[[int], float] = lambda step: 2.0 - step / 10,
    gradient: float = 1.0,
    beat: Callable[[], None] = lambda: None,
    **options: Any,
) -> EpochLoop:
    """`validation` and `loss` give the losses by optimizer steps done; a stop is asked for once `stop_at` steps are done."""
    done = {"steps": done_before}

    def batches(plan: EpochPlan, first: int) -> Iterator[Any]:
        return iter([plan.batch(index) for index in range(first, len(plan))])

    def train_step(batch: Any, step: int, stop: bool) -> StepMetrics:
        done["steps"] = step + 1
        return StepMetrics(
            loss(step) * len(batch),
            float(batch.sum()),
            len(batch),
            float(step + 1 == stop_at),
            gradient,
        )

    return EpochLoop(
        config=TrainConfig(
            **{"batch_size": BATCH, "epochs": EPOCHS, "checkpoint_every_steps": 2} | options
        ),
        buckets=(8,),
        train_rows=SplitInputs(
            np.ones(ROWS, np.int32),
            np.zeros(ROWS, np.int32),
            lambda rows, width: rows,
            tf.TensorSpec(None),
        ),
        validation_batches=lambda: iter([1, 2, 3]),
        batches=batches,
        train_step=train_step,
        settle=lambda: keeper.settled.append(done["steps"]),
        validation_step=lambda _: StepMetrics(validation(done["steps"]), 1.0, 1.0, 0.0, 0.0),
        rate=lambda step: 0.1,
        stop_asked=lambda: False,
        beat=beat,
        keeper=keeper,
        is_chief=False,
    )


def figures(position: TrainState) -> dict[str, Any]:
    return position.model_dump(exclude={"seconds", "rows_timed", "epoch_seconds", "history"}) | {
        "history": [epoch.model_dump(exclude={"seconds"}) for epoch in position.history]
    }


@pytest.mark.parametrize("stop_at", range(1, STEPS + 1))
def test_w3_a_stop_at_any_step_changes_nothing_of_the_rest(stop_at: int) -> None:
    whole, losses = run_epochs(make_loop(Recorder()), TrainState(), [])
    keeper = Recorder()
    with pytest.raises(PreemptionError, match=f"step {stop_at}"):
        run_epochs(make_loop(keeper, stop_at=stop_at), TrainState(), [])
    position, so_far = keeper.saved[-1]
    assert position.step == len(so_far) == stop_at
    resumed, again = run_epochs(make_loop(Recorder(), done_before=stop_at), position, so_far)
    assert figures(resumed) == figures(whole)
    assert again == losses
    assert len(resumed.history) == EPOCHS


def test_checkpoints_come_every_so_many_steps_and_after_each_epoch() -> None:
    keeper = Recorder()
    run_epochs(make_loop(keeper), TrainState(), [])
    assert [position.step for position, _ in keeper.saved] == [2, 3, 4, 6, 8, 9]
    assert [len(position.history) for position, _ in keeper.saved] == [0, 1, 1, 2, 2, 3]


def test_late_weights_are_brought_up_to_date_before_every_validation() -> None:
    keeper = Recorder()
    run_epochs(make_loop(keeper), TrainState(), [])
    assert keeper.settled == [3, 6, 9]


def test_a_finished_run_does_no_step() -> None:
    position, losses = run_epochs(make_loop(Recorder()), TrainState(), [])
    keeper = Recorder()
    assert run_epochs(make_loop(keeper, loss=lambda step: math.nan), position, losses) == (
        position,
        losses,
    )
    assert keeper.saved == []


def test_every_row_counts_once_in_an_epoch_s_figures() -> None:
    position, _ = run_epochs(make_loop(Recorder(), loss=lambda step: 0.5), TrainState(), [])
    assert [epoch.train_loss for epoch in position.history] == [0.5] * EPOCHS
    assert [epoch.train_accuracy for epoch in position.history] == [
        sum(range(ROWS)) / ROWS
    ] * EPOCHS


def test_patience_counts_epochs_without_a_lower_loss_and_the_first_best_is_kept() -> None:
    keeper = Recorder()
    by_step = {3: 0.9, 6: 0.5, 9: 0.7, 12: 0.5, 15: 0.1}
    position, _ = run_epochs(
        make_loop(
            keeper,
            validation=by_step.__getitem__,
            epochs=5,
            early_stopping_patience=2,
            best_metric="loss",
        ),
        TrainState(),
        [],
    )
    assert len(position.history) == 4
    assert (position.best_step, keeper.best) == (6, [3, 6])


@pytest.mark.parametrize(
    ("best_by", "best"),
    [
        pytest.param("accuracy", 3, id="highest accuracy, of equal ones the lowest loss"),
        pytest.param("loss", 1, id="lowest loss"),
    ],
)
def test_the_best_epoch(best_by: str, best: int) -> None:
    figures = {
        "steps": 1,
        "train_loss": 1.0,
        "train_accuracy": 0.5,
        "learning_rate": 0.1,
        "seconds": 1.0,
    }
    measured = [(0.3, 0.80), (0.5, 0.90), (0.4, 0.90), (0.4, 0.90)]
    history = [
        EpochMetrics(epoch=number, validation_loss=loss, validation_accuracy=accuracy, **figures)
        for number, (loss, accuracy) in enumerate(measured, start=1)
    ]
    assert best_epoch(TrainConfig.model_validate({"best_metric": best_by}), history).epoch == best


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"loss": lambda step: math.nan if step == 4 else 1.0}, "step 5: the loss is nan"),
        ({"loss": lambda step: math.inf if step == 4 else 1.0}, "step 5: the loss is inf"),
        ({"gradient": math.nan}, "step 1: the gradient is nan"),
        (
            {"validation": lambda step: math.nan if step == 6 else 1.0},
            "step 6: the validation loss is nan",
        ),
    ],
    ids=["NaN loss", "infinite loss", "NaN gradient", "NaN validation"],
)
def test_t1_what_is_not_finite_stops_and_is_never_kept(options: dict[str, Any], named: str) -> None:
    keeper = Recorder()
    with pytest.raises(NonFiniteLossError, match=named) as caught:
        run_epochs(make_loop(keeper, **options), TrainState(), [])
    assert caught.value.exit_code == DataError.exit_code
    bad_step = int(str(caught.value).split()[1].rstrip(":"))
    assert all(position.step < bad_step for position, _ in keeper.saved)
    assert bad_step not in keeper.best


def test_float16_may_overflow_its_gradient() -> None:
    position, _ = run_epochs(
        make_loop(Recorder(), gradient=math.inf, precision="float16"), TrainState(), []
    )
    assert position.step == STEPS


def test_every_step_and_every_validation_batch_is_a_sign_of_life() -> None:
    beats: list[int] = []
    run_epochs(make_loop(Recorder(), beat=lambda: beats.append(1)), TrainState(), [])
    assert len(beats) == STEPS + 3 * EPOCHS
