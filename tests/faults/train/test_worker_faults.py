"""Faults of workers and launchers, injected into real processes at a seeded step."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from components.artifacts import checkpoint
from components.artifacts.checkpoint import CheckpointContent
from components.config.environment import ENV_FAILURE_FILE
from components.config.schema import TrainConfig
from components.errors import ExitCode, HardwareError, KubertError
from components.train import step
from components.train.checkpointing import directory_state_store
from components.train.job import Job
from components.workers import exit_codes
from components.workers.exit_codes import WorkerGroupFailedError
from components.workers.local import launcher, worker_process
from components.workers.topology import WorkerTopology, find_free_port
from tests.support.training import local_training, training_shards
from tests.support.training.tiny_training import tiny_options as options

pytestmark = pytest.mark.timeout(900)
STEPS = 4 * 24
STEP = int(
    np.random.default_rng(int(os.environ.get("KUBERT_FAULT_SEED", "20"))).integers(10, STEPS // 2)
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_shards.make(
        tmp_path_factory.mktemp("data") / "shards", rows={"train": 192, "validation": 20}
    )


@pytest.fixture(scope="module")
def undisturbed_run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    local_training.train(home, shards, options())
    return home


def assert_as_undisturbed(home: Path, undisturbed_run: Path) -> CheckpointContent:
    found, wanted = (
        checkpoint.open_checkpoint(directory / "checkpoint").content
        for directory in (home, undisturbed_run)
    )
    assert len(found.step_losses) == STEPS
    np.testing.assert_allclose(found.step_losses, wanted.step_losses, rtol=1e-6, atol=1e-6)
    assert [epoch.validation_loss for epoch in found.history] == pytest.approx(
        [epoch.validation_loss for epoch in wanted.history], rel=1e-6
    )
    expected = local_training.weights(undisturbed_run / "checkpoint")
    for name, value in local_training.weights(home / "checkpoint").items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)
    return found


def read_log_message(log: Path) -> str:
    """The last message of a worker's log, without time, level and logger, after one other."""
    start, line = log.read_text().splitlines()
    assert "gradients are summed by RING" in start
    return line.partition(": ")[2]


def messages(home: Path) -> list[str]:
    path = home / "progress.jsonl"
    return [json.loads(line).get("message", "") for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "rank",
    [
        pytest.param(1, id="a_worker", marks=pytest.mark.nightly),
        pytest.param(0, id="the_chief"),
    ],
)
def test_after_a_kill_all_workers_restart_and_end_with_the_undisturbed_weights(
    rank: int, shards: Path, undisturbed_run: Path, tmp_path: Path
) -> None:
    """Faults W1 and W2."""
    with local_training.launch(tmp_path, shards, options(train__max_restarts=1)) as it:
        it.wait_for_step(STEP)
        workers = it.workers(2)
        killed_at = local_training.last_step(tmp_path)
        workers[rank].kill()
        ended = it.wait()
    assert ended.code == 0, ended.output
    assert_as_undisturbed(tmp_path, undisturbed_run)
    found_messages = messages(tmp_path)
    assert [
        text
        for text in found_messages
        if text.startswith("restart 1 of 1") and f"worker {rank} was killed (SIGKILL)" in text
    ]
    (resumed,) = [
        int(text.split()[4]) for text in found_messages if text.startswith("going on from step")
    ]
    assert killed_at <= resumed < STEPS


@pytest.mark.slow
@pytest.mark.parametrize(
    "everyone",
    [pytest.param(False, id="one", marks=pytest.mark.nightly), pytest.param(True, id="all")],
)
def test_sigterm_saves_the_step_and_restarts_without_being_counted(
    everyone: bool, shards: Path, undisturbed_run: Path, tmp_path: Path
) -> None:
    """Faults W3 and W4."""
    with local_training.launch(tmp_path, shards, options(train__max_restarts=0)) as it:
        it.wait_for_step(STEP)
        workers = it.workers(2)
        for rank, process in workers.items():
            if everyone or rank == 1:
                process.send_signal(signal.SIGTERM)
        ended = it.wait()
    assert ended.code == 0, ended.output
    assert_as_undisturbed(tmp_path, undisturbed_run)
    found_messages = messages(tmp_path)
    assert (
        "a worker was asked to stop and saved its checkpoint; restarting all workers"
        in found_messages
    )
    logs = local_training.work(tmp_path) / "logs"
    stopped = [read_log_message(logs / f"attempt-01-worker-{rank}.log") for rank in (0, 1)]
    assert stopped[0] == stopped[1]  # both stopped at the same step
    assert stopped[0].startswith("stopped at step ")
    (resumed,) = [
        int(text.split()[4]) for text in found_messages if text.startswith("going on from step")
    ]
    assert resumed == int(stopped[0].split()[-1])  # no step was lost


@pytest.mark.slow
def test_a_worker_that_stops_answering_is_ended_within_the_deadline(
    shards: Path, undisturbed_run: Path, tmp_path: Path
) -> None:
    """Fault W5."""
    deadline = 30
    with local_training.launch(tmp_path, shards, options(train__stall_timeout=deadline)) as it:
        it.wait_for_step(STEP)
        workers = it.workers(2)
        workers[1].send_signal(signal.SIGSTOP)
        started = time.monotonic()
        local_training.wait_for(
            lambda: not workers[1].is_running() or workers[1].status() == psutil.STATUS_ZOMBIE,
            "the stopped worker's end",
        )
        assert time.monotonic() - started < deadline + 30
        ended = it.wait()
    assert ended.code == 0, ended.output
    assert_as_undisturbed(tmp_path, undisturbed_run)
    assert [
        text
        for text in messages(tmp_path)
        if text.startswith("restart 1 of 3") and "worker 0 lost a peer" in text
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "rank",
    [
        pytest.param(0, id="chief waits"),
        pytest.param(1, id="worker waits", marks=pytest.mark.nightly),
    ],
)
def test_a_peer_that_never_starts_is_named_before_the_deadline(
    rank: int, shards: Path, tmp_path: Path
) -> None:
    """Fault W6."""
    job = Job(
        model=training_shards.MODEL,
        train=TrainConfig(batch_size=8, workers=2, rendezvous_timeout=3),
        shards=str(shards),
        state=str(tmp_path / "scratch"),
    )
    failure = tmp_path / "failure.txt"
    path = tmp_path / "job.json"
    path.write_text(job.model_dump_json())
    members = (f"127.0.0.1:{find_free_port()}", f"127.0.0.1:{find_free_port()}")
    process = subprocess.run(
        [sys.executable, "-m", "components.train.worker", str(path)],
        env={
            **os.environ,
            "TF_CONFIG": WorkerTopology(workers=members, rank=rank).to_tf_config(),
            ENV_FAILURE_FILE: str(failure),
        },
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert process.returncode == exit_codes.RENDEZVOUS_TIMEOUT, process.stdout + process.stderr
    expected = (
        f"worker {1 - rank} ({members[1 - rank]}) did not appear within 3 s: "
        "nothing answers on its port"
    )
    assert expected in process.stderr
    assert failure.read_text().strip() == expected


@pytest.mark.slow
def test_a_crash_loop_is_bounded_and_shows_the_last_lines(shards: Path, tmp_path: Path) -> None:
    """Fault W7."""
    with local_training.launch(
        tmp_path, shards, options(train__max_restarts=1, train__workers=1)
    ) as it:
        it.workers(1)
        # Where checkpoints belong lies a file: every save fails, and does so again after a restart.
        local_training.wait_for(
            lambda: (local_training.work(tmp_path) / "logs").is_dir(), "the first attempt"
        )
        (local_training.work(tmp_path) / "checkpoints").write_text("in the way")
        ended = it.wait()
    assert ended.code == ExitCode.WORKERS_FAILED
    assert (
        "the train step failed 2 times and is not restarted again (train.max_restarts=1): "
        "worker 0 failed with exit code 1" in ended.output
    )
    assert "attempt-02-worker-0.log" in ended.output
    assert "FileExistsError" in ended.output
    assert not (tmp_path / "checkpoint").exists()


def test_a_second_chief_cannot_write_while_the_first_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault W8."""
    monkeypatch.setattr(directory_state_store, "LOCK_TIMEOUT_SECONDS", 0.2)
    code = (
        "import sys, time; from pathlib import Path; "
        "from components.train.checkpointing.directory_state_store import lock_directory; "
        "lock_directory(Path(sys.argv[1])); print('locked', flush=True); time.sleep(600)"
    )
    stale = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert stale.stdout is not None
        assert stale.stdout.readline() == b"locked\n"
        stale.send_signal(signal.SIGSTOP)
        with pytest.raises(KubertError, match="another run is training here"):
            directory_state_store.lock_directory(tmp_path)
    finally:
        stale.kill()
        stale.wait()
    os.close(directory_state_store.lock_directory(tmp_path))


@pytest.mark.slow
def test_a_stale_chief_blocks_a_second_run(shards: Path, tmp_path: Path) -> None:
    # The lock is taken, as by a chief of an older attempt: the new chief waits until it is free.
    """Fault W8."""
    arguments = options(train__workers=1, train__epochs=1, train__max_restarts=0)
    with local_training.launch(tmp_path, shards, arguments) as it:
        local_training.wait_for(
            lambda: list((tmp_path / "scratch").glob("*/job.json")), "the state directory"
        )
        descriptor = os.open(local_training.work(tmp_path) / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        time.sleep(8)
        assert local_training.last_step(tmp_path) == 0
        os.close(descriptor)
        ended = it.wait()
    assert ended.code == 0, ended.output


@pytest.mark.slow
def test_ctrl_c_loses_no_step_and_another_number_of_workers_continues(
    shards: Path, undisturbed_run: Path, tmp_path: Path
) -> None:
    """Fault W9."""
    saved = [0]
    for workers, until in ((2, STEP), (3, 3 * STEPS // 5)):
        with local_training.launch(tmp_path, shards, options(train__workers=workers)) as it:
            it.wait_for_step(until)
            it.process.send_signal(signal.SIGINT)
            ended = it.wait()
        assert ended.code == exit_codes.PREEMPTED, ended.output
        assert "stopped; the next run continues from what was saved" in ended.output
        assert not (tmp_path / "checkpoint").exists()
        saved.append(local_training.last_step(tmp_path))
        assert until <= saved[-1] < STEPS
        logs = (local_training.work(tmp_path) / "logs").glob("attempt-01-worker-*.log")
        assert {read_log_message(path) for path in logs} == {f"stopped at step {saved[-1]}"}
    content = local_training.train(tmp_path, shards, options(train__workers=1))
    assert content.workers == 1
    assert_as_undisturbed(tmp_path, undisturbed_run)
    resumed = [
        int(text.split()[4]) for text in messages(tmp_path) if text.startswith("going on from step")
    ]
    assert resumed == saved[1:]


def test_out_of_memory_is_reported_and_not_retried(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault W10."""
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom_kill 3\n")
    monkeypatch.setattr(worker_process, "_CGROUP_MEMORY_EVENTS", events)
    job = Job(
        model=training_shards.MODEL,
        train=TrainConfig(batch_size=8),
        shards=str(shards),
        state=str(tmp_path / "scratch"),
    )
    kernel = threading.Thread(target=_kill_as_the_kernel_does, args=(events,))
    kernel.start()
    with pytest.raises(
        WorkerGroupFailedError, match=r"killed for lack of memory; lower train\.batch_size"
    ):
        launcher.run_local(step.build_worker_group(job), tmp_path / "home")
    kernel.join()
    assert len(list((tmp_path / "home" / "logs").iterdir())) == 1


def test_a_worker_without_its_gpus_ends_at_once_and_is_not_restarted(
    shards: Path, tmp_path: Path
) -> None:
    """Fault W12."""
    job = Job(
        model=training_shards.MODEL,
        train=TrainConfig(batch_size=8),
        shards=str(shards),
        state=str(tmp_path / "scratch"),
    )
    reason = (
        r"a worker needs 2 GPUs \(cluster\.gpus\), TensorFlow sees 0: "
        r"this TensorFlow is built for CPUs only\nwhat to do: use the GPU image"
    )
    with pytest.raises(HardwareError, match=reason):
        launcher.run_local(step.build_worker_group(job), tmp_path / "home", [{"KUBERT_GPUS": "2"}])
    assert len(list((tmp_path / "home" / "logs").iterdir())) == 1
    assert not (tmp_path / "scratch").exists()


def _kill_as_the_kernel_does(events: Path) -> None:
    def worker() -> psutil.Process | None:
        # A store's server may be a child of the tests' process, too.
        found = (
            child
            for child in psutil.Process().children()
            if "components.train.worker" in child.cmdline()
        )
        return next(found, None)

    victim = local_training.wait_for(worker, "the worker")
    events.write_text("low 0\noom_kill 4\n")
    victim.kill()


@pytest.mark.slow
def test_workers_die_with_their_launcher_and_the_next_run_continues(
    shards: Path, undisturbed_run: Path, tmp_path: Path
) -> None:
    """Fault W2."""
    with local_training.launch(tmp_path, shards, options()) as it:
        it.wait_for_step(STEP)
        workers = it.workers(2)
        it.process.kill()
        it.process.wait()
        _, alive = psutil.wait_procs(list(workers.values()), timeout=20)
        assert not alive
    saved = local_training.last_step(tmp_path)
    assert saved >= STEP
    local_training.train(tmp_path, shards, options())
    assert_as_undisturbed(tmp_path, undisturbed_run)
    assert [text for text in messages(tmp_path) if text.startswith(f"going on from step {saved} ")]


def test_an_orphaned_worker_does_not_start(tmp_path: Path, shards: Path) -> None:
    job = Job(
        model=training_shards.MODEL,
        train=TrainConfig(batch_size=8),
        shards=str(shards),
        state=str(tmp_path / "scratch"),
    )
    path = tmp_path / "job.json"
    path.write_text(job.model_dump_json())
    environment = {**os.environ, "KUBERT_LAUNCHER": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "components.train.worker", str(path)], env=environment, timeout=120
    )
    assert done.returncode == exit_codes.PEER_LOST
    assert not Path(job.state).exists()
