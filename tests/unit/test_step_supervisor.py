"""Retries of a step's command in its pod, with real processes below a shell, as KFP starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.progress import StepName
from components.step_supervisor import report_pod_retry

DRIVER = (
    "import sys; from components.progress import StepName; "
    "from components.step_supervisor import StepSupervisor; "
    "sys.exit(StepSupervisor(StepName.TRAIN, wait_seconds=0.01).run(sys.argv[1:]))"
)
STARTS = 'echo "$$" >> starts; '
WAIT_FOR_TERM = (
    "import pathlib, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(pathlib.Path('saved').touch()))\n"
    "pathlib.Path('ready').touch()\n"
    "time.sleep(60)"
)


def start(home: Path, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *command],
        cwd=home,
        env={
            **os.environ,
            "KUBERT_PROGRESS": str(home / "progress.jsonl"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )


def run(home: Path, script: str) -> int:
    return start(home, "sh", "-ec", STARTS + script).wait(timeout=60)


def count_starts(home: Path) -> int:
    return len((home / "starts").read_text().splitlines())


def notes(home: Path) -> list[str]:
    path = home / "progress.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    events = [json.loads(line) for line in lines]
    assert all(event["kind"] == "note" for event in events)
    return [event["message"] for event in events]


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(0, id="success"),
        pytest.param(64, id="usage"),
        pytest.param(65, id="data"),
        pytest.param(72, id="missing_gpu"),
        pytest.param(78, id="configuration"),
        pytest.param(70, id="workers_that_were_restarted_in_vain"),
        pytest.param(75, id="a_launcher_that_was_stopped"),
        pytest.param(143, id="a_step_that_was_stopped"),
    ],
)
def test_an_end_that_a_retry_would_not_change_is_final(code: int, tmp_path: Path) -> None:
    """Fault W14."""
    assert run(tmp_path, f"exit {code}") == code
    assert (count_starts(tmp_path), notes(tmp_path)) == (1, [])


@pytest.mark.parametrize(
    ("end", "described"),
    [
        pytest.param("kill -9 $$", "was killed (SIGKILL)", id="the_shell_is_killed"),
        pytest.param("sh -c 'kill -9 $$'", "was killed (SIGKILL)", id="its_child_is_killed"),
        pytest.param("kill -SEGV $$", "was killed (SIGSEGV)", id="a_crash"),
        pytest.param("exit 1", "failed with exit code 1", id="an_unexpected_error"),
    ],
)
def test_a_step_that_dies_is_started_again(end: str, described: str, tmp_path: Path) -> None:
    """Fault W14."""
    assert run(tmp_path, f"test -e died && exit 0; touch died; {end}") == 0
    assert count_starts(tmp_path) == 2
    assert notes(tmp_path) == [f"the train step {described}; starting it again (retry 1 of 2)"]


def test_retries_are_bounded_and_the_last_code_is_the_step_s(tmp_path: Path) -> None:
    assert run(tmp_path, "kill -9 $$") == 137
    assert count_starts(tmp_path) == 3
    assert [note[-14:] for note in notes(tmp_path)] == ["(retry 1 of 2)", "(retry 2 of 2)"]


def test_what_a_killed_shell_leaves_behind_ends_before_the_retry(tmp_path: Path) -> None:
    script = "test -e left && exit 0; sleep 60 & echo $! > left; kill -9 $$"
    assert run(tmp_path, script) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "left").read_text()), 0)


def test_a_stop_is_passed_on_waited_for_and_not_retried(tmp_path: Path) -> None:
    # The shell dies of the signal; its child saves first.
    script = STARTS + f'"{sys.executable}" -c "{WAIT_FOR_TERM}"; echo never'
    process = start(tmp_path, "sh", "-ec", script)
    wait_until((tmp_path / "ready").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert (tmp_path / "saved").exists()
    assert (count_starts(tmp_path), notes(tmp_path)) == (1, [])


def test_a_pod_that_replaces_a_lost_one_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERT_PROGRESS", str(tmp_path / "progress.jsonl"))
    for index in ("", "0", "2"):
        monkeypatch.setenv("KFP_RETRY_INDEX", index)
        report_pod_retry(StepName.TRAIN)
    assert notes(tmp_path) == ["the pod of the train step was lost; this is another one (retry 2)"]
