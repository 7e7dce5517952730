"""The trainer with an arithmetic step: it decides the same after a stop at any step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score

from components.artifacts.checkpoint import EpochMetrics
from components.config.schema import TrainConfig
from components.errors import DataError
from components.train.checkpointing.train_state import TrainState
from components.train.loop.callback import TrainingCallback
from components.train.loop.input_pipeline import Batch, SplitInputs
from components.train.loop.train_step import StepMetrics
from components.train.loop.trainer import (
    ModelSteps,
    NonFiniteLossError,
    PreemptionError,
    StopRequest,
    Trainer,
    WorkerControl,
    best_epoch,
    compute_macro_f1,
)
from components.train.loop.training_data import TrainingData

ROWS, BATCH, EPOCHS, VALIDATION_BATCHES = 10, 4, 3, 3
STEPS = 3 * EPOCHS
CHECKPOINTS = [2, 3, 4, 6, 8, 9]
"""Every second step, and each epoch's last."""


class MemoryCheckpoints:
    """A `CheckpointWriter` in memory; `events` has its saves, and what else is appended to it."""

    def __init__(self, initial: TrainState | None = None) -> None:
        self.initial = initial or TrainState()
        self.events: list[tuple[str, int]] = []
        self.saved: list[TrainState] = []
        self.best: list[int] = []
        self.finished: list[TrainState] = []
        self.waits = 0

    def restore_or_start(self) -> TrainState:
        return self.initial

    def save(self, state: TrainState) -> None:
        self.events.append(("save", state.step))
        self.saved.append(state)

    def save_best(self, state: TrainState) -> None:
        self.events.append(("save", state.step))
        self.best.append(state.step)

    def wait_until_finished(self) -> None:
        self.waits += 1

    def finish(self, state: TrainState) -> None:
        self.finished.append(state)


@dataclass(frozen=True)
class MemoryMetrics:
    """`PendingMetrics` that are known already; `on_read` is called when they are asked for."""

    metrics: StepMetrics
    on_read: Callable[[], None] = lambda: None

    def read(self) -> StepMetrics:
        self.on_read()
        return self.metrics


class Recorder(TrainingCallback):
    """Records the order of the calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_epoch_begin(self, rows: int) -> None:
        self.calls.append(f"epoch of {rows} rows")

    def on_batch_begin(self) -> None:
        self.calls.append("batch")

    def on_step_begin(self) -> None:
        self.calls.append("step begin")

    def on_step_end(self, state: TrainState, metrics: Any, plan: Any, index: int) -> None:
        self.calls.append(f"step {state.step} end")

    def on_validation_begin(self) -> None:
        self.calls.append("validation")

    def on_epoch_end(self, state: TrainState, epoch: EpochMetrics) -> None:
        self.calls.append(f"epoch {epoch.epoch} end")


def make_trainer(
    checkpoints: MemoryCheckpoints,
    *,
    stop_at: int | None = None,
    stops: float = 1.0,
    validation: Callable[[int], float] = lambda step: 1 / (1 + step),
    loss: Callable[[int], float] = lambda step: 2.0 - step / 10,
    gradient: float = 1.0,
    heartbeat: Callable[[], None] = lambda: None,
    flushes: list[int] | None = None,
    callbacks: tuple[TrainingCallback, ...] = (),
    **options: Any,
) -> Trainer:
    """`validation` and `loss` give losses by step; `stops` are the requests at step `stop_at`."""
    done = {"steps": checkpoints.initial.step}

    def train(batch: Batch, step: int, stop: int) -> MemoryMetrics:
        done["steps"] = step + 1
        checkpoints.events.append(("start", step + 1))
        labels = batch.labels.numpy()
        return MemoryMetrics(
            StepMetrics(
                loss(step) * len(labels),
                float(labels.sum()),
                len(labels),
                stops * (step + 1 == stop_at),
                gradient,
            ),
            lambda: checkpoints.events.append(("read", step + 1)),
        )

    config = TrainConfig(
        **{"batch_size": BATCH, "epochs": EPOCHS, "checkpoint_every_steps": 2} | options
    )
    data = TrainingData(
        config,
        tf.distribute.OneDeviceStrategy("/cpu:0"),
        make_inputs(ROWS),
        make_inputs(64 * VALIDATION_BATCHES),
        buckets=(8,),
    )
    steps = ModelSteps(
        train=train,
        validate=lambda _: MemoryMetrics(
            StepMetrics(validation(done["steps"]), 1.0, 1.0, 0.0, 0.0)
        ),
        flush_optimizer=lambda: None if flushes is None else flushes.append(done["steps"]),
        learning_rate=lambda step: 0.1,
    )
    control = WorkerControl(stop_requested=lambda: StopRequest.NONE, heartbeat=heartbeat)
    return Trainer(config, data, steps, checkpoints, control, callbacks)


def make_inputs(rows: int) -> SplitInputs:
    """Rows of one token, whose labels are their numbers."""
    return SplitInputs(
        np.ones(rows, np.int32),
        np.arange(rows, dtype=np.int32),
        lambda rows, width: np.ones((len(rows), width), np.int32),
        tf.TensorSpec((None, None), tf.int32),
    )


def figures(state: TrainState) -> dict[str, Any]:
    return state.model_dump(exclude={"seconds", "rows_timed", "epoch_seconds", "history"}) | {
        "history": [epoch.model_dump(exclude={"seconds"}) for epoch in state.history]
    }


@pytest.mark.parametrize("stop_at", range(1, STEPS + 1))
def test_a_stop_at_any_step_changes_nothing_of_the_rest(stop_at: int) -> None:
    """Fault W3."""
    uninterrupted = make_trainer(MemoryCheckpoints()).run()
    checkpoints = MemoryCheckpoints()
    # The outcome of a step that no checkpoint follows is read when the next one runs already.
    is_read_at_once = stop_at in CHECKPOINTS
    last = stop_at if is_read_at_once else stop_at + 1
    with pytest.raises(PreemptionError, match=f"step {last}"):
        make_trainer(checkpoints, stop_at=stop_at).run()
    assert (checkpoints.finished, checkpoints.waits) == ([], 1)
    saved = checkpoints.saved[-1]
    assert saved.step == len(saved.step_losses) == last
    resumed = make_trainer(MemoryCheckpoints(saved)).run()
    assert figures(resumed) == figures(uninterrupted)
    assert resumed.step_losses == uninterrupted.step_losses
    assert len(resumed.history) == EPOCHS


@pytest.mark.parametrize(
    ("stops", "request_"),
    [
        pytest.param(1.0, StopRequest.PREEMPTED, id="one_worker_was_preempted"),
        pytest.param(512.0, StopRequest.PREEMPTED, id="all_of_many_were"),
        pytest.param(65536.0, StopRequest.LAUNCHER_LOST, id="the_chief_lost_the_launcher"),
        pytest.param(8 * 65536.0 + 511, StopRequest.LAUNCHER_LOST, id="both"),
    ],
)
def test_all_workers_stop_for_the_gravest_reason(stops: float, request_: StopRequest) -> None:
    with pytest.raises(PreemptionError) as caught:
        make_trainer(MemoryCheckpoints(), stop_at=3, stops=stops).run()
    assert caught.value.request is request_


def test_checkpoints_are_saved_at_intervals_and_after_each_epoch() -> None:
    checkpoints = MemoryCheckpoints()
    final = make_trainer(checkpoints).run()
    assert [state.step for state in checkpoints.saved] == CHECKPOINTS
    assert [len(state.history) for state in checkpoints.saved] == [0, 1, 1, 2, 2, 3]
    assert [len(state.step_losses) for state in checkpoints.saved] == [2, 3, 4, 6, 8, 9]
    assert (checkpoints.finished, checkpoints.waits) == ([final], 1)


def test_the_optimizer_is_flushed_before_every_validation() -> None:
    flushes: list[int] = []
    make_trainer(MemoryCheckpoints(), flushes=flushes).run()
    assert flushes == [3, 6, 9]


def test_callbacks_are_called_in_the_order_of_the_work() -> None:
    recorder = Recorder()
    make_trainer(MemoryCheckpoints(), callbacks=(recorder,), epochs=1).run()
    begin = ["batch", "step begin"]
    assert recorder.calls == [
        "epoch of 10 rows",
        *(*begin, *begin, "step 1 end", "step 2 end"),
        *(*begin, "step 3 end", "validation", "epoch 1 end"),
    ]


def test_an_outcome_is_read_while_the_next_step_runs_and_before_anything_is_saved() -> None:
    checkpoints = MemoryCheckpoints()
    make_trainer(checkpoints, epochs=1, checkpoint_every_steps=1000, batch_size=1).run()
    order = [("start", 1)]
    for step in range(2, ROWS + 1):
        order += [("start", step), ("read", step - 1)]
    order += [("read", ROWS), ("save", ROWS), ("save", ROWS)]  # the best weights, the checkpoint
    assert checkpoints.events == order


@pytest.mark.parametrize("bad_step", range(1, STEPS + 1))
@pytest.mark.parametrize("every", [1, 2, 1000])
def test_nothing_is_saved_while_an_outcome_is_not_known_to_be_finite(
    bad_step: int, every: int
) -> None:
    """Fault T1."""
    checkpoints = MemoryCheckpoints()
    with pytest.raises(NonFiniteLossError, match=f"step {bad_step}: the loss is nan"):
        make_trainer(
            checkpoints,
            loss=lambda step: math.nan if step + 1 >= bad_step else 1.0,
            checkpoint_every_steps=every,
        ).run()
    for number, (event, step) in enumerate(checkpoints.events):
        if event == "save":
            before = checkpoints.events[:number]
            assert step < bad_step
            # All that was started is read: the variables are those of this step and no later one.
            assert {at for what, at in before if what == "start"} == set(range(1, step + 1))
            assert {at for what, at in before if what == "read"} == set(range(1, step + 1))


def test_a_finished_training_does_no_step() -> None:
    final = make_trainer(MemoryCheckpoints()).run()
    checkpoints = MemoryCheckpoints(final)
    assert make_trainer(checkpoints, loss=lambda step: math.nan).run() == final
    assert checkpoints.saved == []


def test_every_row_counts_once_in_an_epoch_s_figures() -> None:
    state = make_trainer(MemoryCheckpoints(), loss=lambda step: 0.5).run()
    assert [epoch.train_loss for epoch in state.history] == [0.5] * EPOCHS
    assert [epoch.train_accuracy for epoch in state.history] == [sum(range(ROWS)) / ROWS] * EPOCHS


def test_patience_counts_epochs_without_a_lower_loss_and_the_first_best_is_kept() -> None:
    checkpoints = MemoryCheckpoints()
    by_step = {3: 0.9, 6: 0.5, 9: 0.7, 12: 0.5, 15: 0.1}
    options: dict[str, Any] = {"epochs": 5, "early_stopping_patience": 2, "best_metric": "loss"}
    state = make_trainer(checkpoints, validation=by_step.__getitem__, **options).run()
    assert len(state.history) == 4
    assert (state.best_step, checkpoints.best) == (6, [3, 6])


@pytest.mark.parametrize(
    ("best_metric", "best"),
    [
        pytest.param("accuracy", 3, id="highest accuracy, of equal ones the lowest loss"),
        pytest.param("loss", 1, id="lowest loss"),
        pytest.param("macro_f1", 4, id="highest macro-F1, of equal ones the lowest loss"),
    ],
)
def test_the_best_epoch(best_metric: str, best: int) -> None:
    figures = {
        "steps": 1,
        "train_loss": 1.0,
        "train_accuracy": 0.5,
        "learning_rate": 0.1,
        "seconds": 1.0,
    }
    measured = [(0.3, 0.80, 0.2), (0.5, 0.90, 0.7), (0.4, 0.90, 0.1), (0.4, 0.90, 0.7)]
    history = [
        EpochMetrics(
            epoch=number,
            validation_loss=loss,
            validation_accuracy=accuracy,
            validation_macro_f1=macro_f1,
            **figures,
        )
        for number, (loss, accuracy, macro_f1) in enumerate(measured, start=1)
    ]
    assert (
        best_epoch(TrainConfig.model_validate({"best_metric": best_metric}), history).epoch == best
    )


def test_macro_f1_is_that_of_all_validation_rows_together() -> None:
    random = np.random.default_rng(5)
    labels, predicted = random.choice([0, 1, 3], 300), random.integers(0, 4, 300)
    parts = [
        np.stack(
            [np.bincount(values, minlength=4) for values in (truth, guess, truth[truth == guess])]
        ).astype(np.float32)
        for truth, guess in ((labels[:40], predicted[:40]), (labels[40:], predicted[40:]))
    ]
    totals = [StepMetrics(1.0, 1.0, 1.0, 0.0, 0.0, counts) for counts in parts]
    scores = f1_score(labels, predicted, labels=[0, 1, 3], average=None)
    assert compute_macro_f1(totals) == pytest.approx(scores.mean())
    assert compute_macro_f1([StepMetrics(1.0, 1.0, 1.0, 0.0, 0.0)]) == 0


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
def test_a_value_that_is_not_finite_stops_training_and_is_never_saved(
    options: dict[str, Any], named: str
) -> None:
    """Fault T1."""
    checkpoints = MemoryCheckpoints()
    with pytest.raises(NonFiniteLossError, match=named) as caught:
        make_trainer(checkpoints, **options).run()
    assert caught.value.exit_code == DataError.exit_code
    bad_step = int(str(caught.value).split()[1].rstrip(":"))
    assert all(state.step < bad_step for state in checkpoints.saved)
    assert bad_step not in checkpoints.best


def test_float16_may_overflow_its_gradient() -> None:
    state = make_trainer(MemoryCheckpoints(), gradient=math.inf, precision="float16").run()
    assert state.step == STEPS


def test_every_step_and_every_validation_batch_sends_a_heartbeat() -> None:
    heartbeats: list[int] = []
    make_trainer(MemoryCheckpoints(), heartbeat=lambda: heartbeats.append(1)).run()
    assert len(heartbeats) == STEPS + VALIDATION_BATCHES * EPOCHS
