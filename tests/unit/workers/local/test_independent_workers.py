"""Independent workers as real processes of this machine: one that dies is started again alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.errors import DataError
from components.progress import StepName, parse_progress_event
from components.workers import exit_codes
from components.workers.exit_codes import WorkerGroupFailedError
from components.workers.group import WorkerGroup
from components.workers.local import worker_process
from components.workers.local.launcher import run_local

MODULE = "tests.support.independent_workers.part_worker"
PARTS = 6
LAUNCHER = """
import sys
from pathlib import Path
from components.workers.exit_codes import WorkerGroupInterruptedError
from components.workers.local.launcher import run_local
from tests.unit.workers.local.test_independent_workers import make_group
home = Path(sys.argv[1])
try:
    run_local(make_group(home, seconds=0.5, parts=100), home)
except WorkerGroupInterruptedError as error:
    sys.exit(error.exit_code)
"""


def make_group(
    home: Path,
    endings: dict[int, list[int]] | None = None,
    *,
    seconds: float = 0.0,
    parts: int = PARTS,
    max_restarts: int = 2,
) -> WorkerGroup:
    """Two workers that write the parts, ended by `endings`."""
    document = {
        "directory": str(home),
        "parts": parts,
        "seconds": seconds,
        "endings": endings or {},
    }
    return WorkerGroup(
        step=StepName.SCORE,
        workers=2,
        module=MODULE,
        job_document=json.dumps(document),
        directory=str(home),
        max_restarts=max_restarts,
        is_finished=lambda: False,
        workers_option="score.workers",
        independent=True,
    )


@pytest.fixture
def progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("KUBERT_PROGRESS", str(path))
    return path


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Any:
    before = {child.pid for child in psutil.Process().children()}
    yield
    assert {child.pid for child in psutil.Process().children()} <= before


def starts(home: Path, rank: int) -> list[int]:
    """The process IDs of a worker, one per attempt."""
    path = home / f"starts-{rank}"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def parts(home: Path) -> int:
    return len(list(home.glob("part-*")))


def messages(path: Path) -> list[str]:
    return [json.loads(line).get("message", "") for line in path.read_text().splitlines()]


def wait_for(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_dies_is_replaced_alone_and_does_no_part_twice(
    tmp_path: Path, progress_file: Path
) -> None:
    run_local(make_group(tmp_path, {1: [-signal.SIGKILL, 1]}, seconds=0.05), tmp_path)
    assert [len(starts(tmp_path, rank)) for rank in range(2)] == [1, 3]
    assert parts(tmp_path) == PARTS
    writers = [int((tmp_path / f"part-{part}").read_text()) for part in (1, 3, 5)]
    assert writers == starts(tmp_path, 1)
    assert [line for line in messages(progress_file) if line.startswith("restart")] == [
        "restart 1 of 2 of worker 1: it was killed (SIGKILL)",
        "restart 2 of 2 of worker 1: it failed with exit code 1",
    ]


def test_the_progress_of_the_group_is_the_sum_of_its_workers(
    tmp_path: Path, progress_file: Path
) -> None:
    run_local(make_group(tmp_path), tmp_path)
    events = [parse_progress_event(line) for line in progress_file.read_text().splitlines()]
    counted = [event for event in events if event is not None and event.done is not None]
    assert [event.done for event in counted] == [1, 2, 3, 4, 5, 6]
    assert (counted[0].total, counted[-1].total) == (None, PARTS)
    assert "rank" not in counted[0].metrics


def test_a_worker_that_dies_too_often_ends_the_group_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(WorkerGroupFailedError) as caught:
        run_local(make_group(tmp_path, {1: [3, 3]}, seconds=0.05, max_restarts=1), tmp_path)
    first, *lines = str(caught.value).splitlines()
    assert first == (
        "the score step failed: worker 1 is not started again after 1 restarts: "
        "it failed with exit code 3"
    )
    assert lines[0].startswith("worker 1, ")
    assert lines[-1] == "  ending with 3"
    assert len(starts(tmp_path, 1)) == 2


def test_an_error_of_the_user_ends_the_group_at_once_with_the_worker_s_message(
    tmp_path: Path,
) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=r"^row 7 is wrong \(code 65\)$"):
        run_local(make_group(tmp_path, {1: [65]}, seconds=1.0, parts=100), tmp_path)
    assert time.monotonic() - started < 15
    assert [len(starts(tmp_path, rank)) for rank in range(2)] == [1, 1]


def test_a_full_disk_ends_the_group_at_once_and_its_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerGroupFailedError) as caught:
        run_local(make_group(tmp_path, {1: [exit_codes.DISK_FULL]}), tmp_path)
    assert str(caught.value) == (
        "the score step failed: worker 1 found no space left on the disk; make room in "
        f"{tmp_path} and for temporary files, and run the same command again: what was finished "
        "stays"
    )
    assert len(starts(tmp_path, 1)) == 1


def test_a_worker_that_is_asked_to_stop_is_started_again_and_not_counted(
    tmp_path: Path, progress_file: Path
) -> None:
    run_local(make_group(tmp_path, {0: [75]}, max_restarts=0), tmp_path)
    assert len(starts(tmp_path, 0)) == 2
    assert "worker 0 was asked to stop; starting it again" in messages(progress_file)


def test_a_worker_that_the_kernel_kills_for_lack_of_memory_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter((3, 4))
    monkeypatch.setattr(
        "components.workers.local.independent_workers.count_oom_kills", lambda: next(kills)
    )
    with pytest.raises(WorkerGroupFailedError) as caught:
        run_local(make_group(tmp_path, {1: [-signal.SIGKILL]}), tmp_path)
    assert str(caught.value) == ("worker 1 was killed for lack of memory; lower score.workers")


def test_workers_of_a_launcher_that_is_stopped_end_in_time(tmp_path: Path) -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path)])
    wait_for(lambda: parts(tmp_path) >= 2)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=20) == 75
    pids = [pid for rank in range(2) for pid in starts(tmp_path, rank)]
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_workers_of_a_launcher_that_is_killed_end_with_it(tmp_path: Path) -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path)])
    wait_for(lambda: parts(tmp_path) >= 2)
    launcher.kill()
    launcher.wait()
    pids = [pid for rank in range(2) for pid in starts(tmp_path, rank)]
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    os.sched_yield()
    assert len(pids) == 2


def test_the_log_of_each_attempt_is_there(tmp_path: Path) -> None:
    run_local(make_group(tmp_path, {1: [3]}), tmp_path)
    assert worker_process.worker_log_path(tmp_path, 1, 1).read_text() == "ending with 3\n"
    assert worker_process.worker_log_path(tmp_path, 2, 1).read_text() == ""
