"""Signals and deadlines in real processes, without TensorFlow."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from components.workers import exit_codes

STOP = """\
import sys, time
from components.workers.process_control import PreemptionHandler
stop = PreemptionHandler({grace})
stop.allow_saving()
print('ready', flush=True)
"""
STOP_AT_ONCE = """\
import time
from components.workers.process_control import PreemptionHandler
stop = PreemptionHandler(60)
print('ready', flush=True)
time.sleep(600)
"""
BLOCKED = """\
import ctypes
from components.workers.process_control import cancel_exit, schedule_exit
schedule_exit(1)
cancel_exit()
ctypes.PyDLL(None).sleep(2)
schedule_exit(1)
print('ready', flush=True)
ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock
"""
CONTAINER = ("unshare", "--map-root-user", "--pid", "--fork", "--kill-child")
"""The command after it is the first process of its namespace, as in a container."""
WATCHDOG = """\
import time
from components.workers.process_control import StallWatchdog
dog = StallWatchdog(1.0, first_timeout=3.0, option='train.stall_timeout')
print('ready', flush=True)
time.sleep(2)
for _ in range(20):
    dog.heartbeat(); time.sleep(0.1)
print('alive', flush=True)
time.sleep(600)
"""
CHILD = """\
import os, time
from components.workers.process_control import kill_on_parent_exit
kill_on_parent_exit(os.getppid())
print('ready', flush=True)
time.sleep(600)
"""
PARENT = """\
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', {child!r}])
time.sleep(600)
"""


def start(body: str, within: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*within, sys.executable, "-c", body],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_request_is_seen_while_the_main_thread_works(number: signal.Signals) -> None:
    process = start(
        STOP.format(grace=60)
        + "while not stop.is_stop_requested(): time.sleep(0.01)\nprint('asked')"
    )
    process.send_signal(number)
    assert process.communicate(timeout=30)[0] == "asked\n"
    assert process.returncode == 0


def test_a_stuck_process_ends_after_its_grace() -> None:
    process = start(STOP.format(grace=0.5) + "time.sleep(600)")
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == exit_codes.PEER_LOST
    assert time.monotonic() - started >= 0.5


def test_a_worker_without_anything_to_save_ends_at_once() -> None:
    process = start(STOP_AT_ONCE)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == exit_codes.PREEMPTED


@pytest.mark.parametrize("within", [(), CONTAINER], ids=["process", "container"])
def test_a_scheduled_exit_needs_no_python_thread(within: tuple[str, ...]) -> None:
    if within and subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces for this user")
    process = start(BLOCKED, within)
    assert process.wait(timeout=30) == exit_codes.NOT_JOINED


def test_without_heartbeats_the_watchdog_ends_the_process_and_logs_why() -> None:
    """Fault W5."""
    process = start(WATCHDOG)
    output, _ = process.communicate(timeout=30)
    assert output.startswith(
        "alive\nno step finished within 1 s: a peer is stuck, or train.stall_timeout is too short"
    )
    assert process.returncode == exit_codes.PEER_LOST


def test_the_kernel_kills_a_child_with_its_parent() -> None:
    parent = start(PARENT.format(child=CHILD))
    (process,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    psutil.wait_procs([process], timeout=20)
    assert not process.is_running()
