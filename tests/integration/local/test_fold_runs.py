"""The processes of a cross-validation: side by side, and however one ends, no other is lost."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from components.errors import ExitCode
from components.progress import ProgressEvent, StepName
from pipeline.local import runner
from pipeline.local.fold_runs import FoldScheduler, FoldsFailedError
from pipeline.local.fold_slots import FoldSlot

SCRIPT = """
import json, os, sys, time
from pathlib import Path
from components.errors import ConfigError
from components.progress import report
from components.step_runtime import step_run
here = Path(sys.argv[1])
settings = json.loads((here / "run.json").read_text())
behaviour = settings["arguments"]["behaviour"]
(fold,) = settings["only"] or [0]
with step_run("tokenize", shards="/x"):
    pass
with step_run("fold", fold_shards="/x"):
    running = here.parent / f"running-{fold}"
    running.touch()
    time.sleep(0.5)
    side_by_side = len(list(here.parent.glob("running-*")))
    (here / "seen").write_text(f"{side_by_side} {os.environ.get('SLOT')} {settings['cores']}")
with step_run("train"):
    if behaviour.get(str(fold)) == "killed":
        running.unlink()
        os.kill(os.getpid(), 9)
    if behaviour.get(str(fold)) == "refused":
        running.unlink()
        raise ConfigError("train.batch_size: too large")
    if behaviour.get(str(fold)) == "hangs":
        report("train", "hangs")
        time.sleep(120)
running.unlink()
with step_run("evaluate", report=f"/report-{fold}"):
    pass
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[runner.LocalRun]:
    with runner.create_run(tmp_path / "work") as this:
        yield this
        for directory in this.directory.iterdir():
            if directory.is_dir():
                assert runner.find_processes(runner.LocalRun(this.workdir, directory)) == []


def make_scheduler(
    run: runner.LocalRun,
    tmp_path: Path,
    on_event: Callable[[ProgressEvent], None],
    received: Sequence[int] = (),
    **behaviour: str,
) -> FoldScheduler:
    """Three folds, of which those in `behaviour` (fold_1="killed") do not end well."""
    script = tmp_path / "process.py"
    script.write_text(SCRIPT)
    by_number = {name.removeprefix("fold_"): how for name, how in behaviour.items()}
    command = (sys.executable, str(script))
    return FoldScheduler(run, {"behaviour": by_number}, 3, received, on_event, command)


def test_folds_run_side_by_side_in_their_slots(run: runner.LocalRun, tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    scheduler = make_scheduler(run, tmp_path, events.append)
    slots = [FoldSlot((0,), {"SLOT": "a"}), FoldSlot((1,), {"SLOT": "b"})]
    states = scheduler.run_folds(slots)
    assert {
        fold: str(state.output_path("evaluate", "report")) for fold, state in states.items()
    } == {fold: f"/report-{fold}" for fold in (1, 2, 3)}
    seen = [(run.directory / f"fold-{fold}" / "seen").read_text() for fold in (1, 2, 3)]
    assert max(int(text.split()[0]) for text in seen) <= 2
    assert {tuple(text.split()[1:]) for text in seen} == {("a", "[0]"), ("b", "[1]")}
    assert {event.fold for event in events} == {1, 2, 3}
    assert StepName.TOKENIZE not in {event.step for event in events}


@pytest.mark.parametrize(
    ("how", "message", "code"),
    [
        pytest.param("killed", "ended without a message (exit code -9)", 1, id="killed"),
        pytest.param("refused", "train.batch_size: too large", ExitCode.CONFIG, id="refused"),
    ],
)
def test_a_fold_that_fails_does_not_lose_the_others(
    run: runner.LocalRun, tmp_path: Path, how: str, message: str, code: int
) -> None:
    """Fault K1."""
    events: list[ProgressEvent] = []
    scheduler = make_scheduler(run, tmp_path, events.append, fold_1=how)
    with pytest.raises(FoldsFailedError) as failed:
        scheduler.run_folds([FoldSlot(), FoldSlot()])
    assert f"fold 1: train: {message}" in str(failed.value)
    assert "2 of 3 folds are finished; the same command repeats only the others" in str(
        failed.value
    )
    assert (failed.value.exit_code, [*failed.value.failures]) == (code, [1])
    finished = {event.fold for event in events if event.step == "evaluate"}
    assert finished == {2, 3}


def test_a_signal_ends_all_folds(run: runner.LocalRun, tmp_path: Path) -> None:
    """Fault K2."""
    hanging: list[int | None] = []
    received: list[int] = []

    def interrupt(event: ProgressEvent) -> None:
        if event.message == "hangs":
            hanging.append(event.fold)
        if len(hanging) == 2:
            received.append(signal.SIGINT)

    scheduler = make_scheduler(run, tmp_path, interrupt, received, fold_1="hangs", fold_2="hangs")
    with pytest.raises(runner.RunInterruptedError, match="the same command continues from there"):
        scheduler.run_folds([FoldSlot(), FoldSlot()])
    assert sorted(map(str, hanging)) == ["1", "2"]
    assert not (run.directory / "fold-3").exists()


def test_a_shared_step_that_fails_ends_the_run(run: runner.LocalRun, tmp_path: Path) -> None:
    scheduler = make_scheduler(run, tmp_path, lambda _: None, fold_0="refused")
    with pytest.raises(
        runner.StepFailedError, match=r"train: train\.batch_size: too large"
    ) as failed:
        scheduler.run_shared(None, StepName.SUMMARIZE)
    assert failed.value.exit_code == ExitCode.CONFIG
