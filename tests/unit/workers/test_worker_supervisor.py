"""A supervisor, its worker and the launcher's heartbeat as real processes, without TensorFlow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from components.config.environment import ENV_FAILURE_FILE
from components.errors import ExitCode
from components.storage.store import Store, open_store
from components.workers import exit_codes
from components.workers.launcher_heartbeat import heartbeat_key

JOBSET = "kubert-train-x"
MODULE = "worker_of_this_test"
KEY = heartbeat_key(JOBSET)
ROOT = Path(__file__).parents[3]
SILENCE_SECONDS = 2.0
SAVE_SECONDS = 2.0
SUPERVISOR = f"""
import sys
from components.workers import worker_supervisor
from components.workers.launcher_heartbeat import WatchLimits
limits = WatchLimits(0.05, {SILENCE_SECONDS}, {SILENCE_SECONDS}, {SAVE_SECONDS})
sys.exit(worker_supervisor.main(sys.argv[1:], limits))
"""
START = """
import ctypes, os, signal, sys, time
from components.workers.process_control import PreemptionHandler, kill_on_parent_exit
kill_on_parent_exit(int(os.environ["KUBERT_LAUNCHER"]))
stop = PreemptionHandler(60)
"""
SAVING = START + "stop.allow_saving()\n"
READY = "print('ready', flush=True)\n"
KEEP_INTERPRETER = READY + "ctypes.PyDLL(None).sleep(600)\n"
"""No thread of Python runs meanwhile, as while TensorFlow starts."""
WAIT_FOR_SIGNAL = READY + "while not {asked}(): time.sleep(0.01)\nos._exit({code})\n"
CONTAINER = ("unshare", "--map-root-user", "--pid", "--fork", "--kill-child")
"""The command after it is the first process of its namespace, as in a container."""
MakeSupervisor = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def failure(tmp_path: Path) -> Path:
    path = tmp_path / "termination-log"
    path.touch()
    return path


@pytest.fixture
def supervise(tmp_path: Path, failure: Path) -> Iterator[MakeSupervisor]:
    """Start a supervisor of a worker that runs `body`."""
    started: list[subprocess.Popen[str]] = []

    def start(body: str, within: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        (tmp_path / f"{MODULE}.py").write_text(body)
        process = subprocess.Popen(
            [*within, sys.executable, "-c", SUPERVISOR, str(tmp_path), MODULE, "job.json"],
            env={
                **os.environ,
                "JOBSET_NAME": JOBSET,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
                ENV_FAILURE_FILE: str(failure),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        if READY in body:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def beat(store: Store, process: subprocess.Popen[str], seconds: float) -> None:
    """Write heartbeats for a time, or until the process ends."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        store.write(KEY, str(time.monotonic()).encode())
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        pytest.param("sys.exit(0)", 0, id="success"),
        pytest.param("sys.exit(65)", 65, id="mistake_of_the_user"),
        pytest.param("sys.exit(70)", 70, id="peer_lost"),
        pytest.param("os.kill(os.getpid(), 9)", 137, id="killed"),
        pytest.param("os.kill(os.getpid(), 11)", 139, id="crashed"),
    ],
)
def test_the_pod_ends_with_the_code_of_its_worker(
    end: str, expected: int, supervise: MakeSupervisor, store: Store
) -> None:
    process = supervise(START + end)
    beat(store, process, 30)
    assert process.wait(timeout=30) == expected


@pytest.mark.parametrize("within", [(), CONTAINER], ids=["process", "container"])
def test_a_stop_ends_a_worker_that_has_nothing_to_save_and_runs_no_python(
    within: tuple[str, ...], supervise: MakeSupervisor, store: Store
) -> None:
    if within and subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces for this user")
    process = supervise(START + KEEP_INTERPRETER, within)
    (target,) = psutil.Process(process.pid).children() if within else [process]
    target.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == exit_codes.PREEMPTED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_worker_with_something_to_save_gets_the_signal(
    number: signal.Signals, supervise: MakeSupervisor
) -> None:
    asked = WAIT_FOR_SIGNAL.format(asked="stop.is_stop_requested", code=exit_codes.PREEMPTED)
    process = supervise(SAVING + asked)
    process.send_signal(number)
    assert process.wait(timeout=10) == exit_codes.PREEMPTED


def test_a_worker_goes_on_while_a_launcher_is_there(
    supervise: MakeSupervisor, store: Store
) -> None:
    process = supervise(START + KEEP_INTERPRETER)
    beat(store, process, 2 * SILENCE_SECONDS)
    assert process.poll() is None


def test_a_lost_launcher_ends_a_worker_that_has_nothing_to_save(
    supervise: MakeSupervisor, failure: Path
) -> None:
    """Fault W13."""
    process = supervise(START + KEEP_INTERPRETER)
    started = time.monotonic()
    assert process.wait(timeout=30) == exit_codes.LAUNCHER_LOST
    assert time.monotonic() - started < SILENCE_SECONDS + SAVE_SECONDS
    assert failure.read_text() == "the launcher is gone\n"


def test_a_lost_launcher_leaves_time_to_save(supervise: MakeSupervisor, failure: Path) -> None:
    """Fault W13."""
    asked = WAIT_FOR_SIGNAL.format(asked="stop.is_launcher_lost", code=exit_codes.LAUNCHER_LOST)
    failure.write_text("saved step 7\n")
    process = supervise(SAVING + asked)
    assert process.wait(timeout=30) == exit_codes.LAUNCHER_LOST
    assert failure.read_text() == "saved step 7\n"


def test_a_lost_launcher_leaves_no_more_time_than_that(
    supervise: MakeSupervisor, failure: Path
) -> None:
    """Fault W13."""
    process = supervise(SAVING + KEEP_INTERPRETER)
    started = time.monotonic()
    assert process.wait(timeout=30) == exit_codes.LAUNCHER_LOST
    assert time.monotonic() - started > SAVE_SECONDS


@pytest.mark.parametrize(
    ("is_back", "expected"),
    [
        pytest.param(True, exit_codes.PEER_LOST, id="back"),
        pytest.param(False, exit_codes.LAUNCHER_LOST, id="gone"),
    ],
)
def test_a_worker_that_fails_without_a_launcher_is_not_started_again_for_nobody(
    is_back: bool, expected: int, supervise: MakeSupervisor, store: Store
) -> None:
    """Fault W13."""
    process = supervise(START + READY + f"time.sleep(0.5)\nos._exit({exit_codes.PEER_LOST})")
    (worker,) = psutil.Process(process.pid).children()
    psutil.wait_procs([worker], timeout=20)
    if is_back:
        beat(store, process, 20)
    assert process.wait(timeout=30) == expected


@pytest.mark.parametrize(
    ("arguments", "jobset"),
    [
        pytest.param([], JOBSET, id="no_arguments"),
        pytest.param(["gs://b/state", MODULE, "job.json"], "", id="no_jobset"),
    ],
)
def test_outside_of_a_jobset_nothing_is_started(
    arguments: list[str], jobset: str, failure: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "components.workers.worker_supervisor", *arguments],
        env={**os.environ, "JOBSET_NAME": jobset, ENV_FAILURE_FILE: str(failure)},
        capture_output=True,
    )
    assert done.returncode == ExitCode.USAGE
    assert failure.read_text().startswith("this is the command of a JobSet's pod")


def test_a_worker_ends_with_its_supervisor(supervise: MakeSupervisor) -> None:
    process = supervise(START + KEEP_INTERPRETER)
    (worker,) = psutil.Process(process.pid).children()
    process.kill()
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running()
