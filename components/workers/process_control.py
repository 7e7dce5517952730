"""Signals, deadlines and parents of worker and launcher processes.

SIGTERM asks a worker to save a checkpoint and exit. TensorFlow swallows SIGTERM, and Python's own
handlers wait for the main thread, which may be blocked in a collective. So a worker blocks the
signal in every thread, before TensorFlow starts any, and one thread waits for it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from components.config.environment import ENV_SAVING_FD
from components.workers import exit_codes

_LOGGER = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
LAUNCHER_LOST_SIGNAL = signal.SIGUSR1
"""Sent by `worker_supervisor` to a worker whose launcher is gone."""


class PreemptionHandler:
    """Records the signals that a worker is sent; create it before importing TensorFlow.

    Until `allow_saving` there is nothing to save, and SIGTERM and SIGINT end the process at once
    with PREEMPTED: its peers, which it would wait for, may be gone. After a later one it has
    `grace_seconds` to exit by itself. Then this ends it with PEER_LOST, whatever its main thread is
    blocked in. LAUNCHER_LOST_SIGNAL is recorded only: its sender keeps the time.
    """

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._requested, self._can_save = threading.Event(), threading.Event()
        self._launcher_lost = threading.Event()
        signal.pthread_sigmask(signal.SIG_BLOCK, (*STOP_SIGNALS, LAUNCHER_LOST_SIGNAL))
        threading.Thread(
            target=self._wait_for_signals, daemon=True, name="preemption-handler"
        ).start()

    def allow_saving(self) -> None:
        """From now on a signal is a request to save a checkpoint; call it when workers have met."""
        self._can_save.set()
        if descriptor := os.environ.get(ENV_SAVING_FD):
            os.write(int(descriptor), b"1")

    def is_stop_requested(self) -> bool:
        """Whether SIGTERM or SIGINT has arrived."""
        return self._requested.is_set()

    def is_launcher_lost(self) -> bool:
        """Whether the supervisor has seen no launcher for too long."""
        return self._launcher_lost.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for SIGTERM or SIGINT; whether one has arrived."""
        return self._requested.wait(seconds)

    def _wait_for_signals(self) -> None:
        while signal.sigwait((*STOP_SIGNALS, LAUNCHER_LOST_SIGNAL)) == LAUNCHER_LOST_SIGNAL:
            self._launcher_lost.set()
        if not self._can_save.is_set():
            os._exit(exit_codes.PREEMPTED)
        self._requested.set()
        time.sleep(self._grace_seconds)
        os._exit(exit_codes.PEER_LOST)


@contextmanager
def graceful_stop_event() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set, for a launcher, whose main thread never blocks.

    Outside the main thread nothing sets it.
    """
    event = threading.Event()
    with signals_handled(lambda _: event.set(), STOP_SIGNALS):
        yield event


@contextmanager
def signals_handled(
    handle: Callable[[int], object], numbers: Iterable[signal.Signals]
) -> Iterator[None]:
    """Call `handle` with the number of each of these signals that arrives while the block runs.

    Outside the main thread, where Python handles no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def call_handle(number: int, _frame: FrameType | None) -> None:
        handle(number)

    previous = {number: signal.signal(number, call_handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class StallWatchdog:
    """Ends the process with PEER_LOST when `heartbeat` was not called for `timeout` seconds.

    The first heartbeat may take `first_timeout` seconds: the first step compiles, and peers may
    start later. `option` is the name of the option with the timeout, for the message.
    """

    def __init__(self, timeout: float, *, first_timeout: float, option: str) -> None:
        self._timeout, self._option = timeout, option
        self._deadline = time.monotonic() + max(first_timeout, timeout)
        threading.Thread(target=self._wait_for_stall, daemon=True, name="stall-watchdog").start()

    def heartbeat(self) -> None:
        """Record that a step was finished."""
        self._deadline = time.monotonic() + self._timeout

    def _wait_for_stall(self) -> None:
        while time.monotonic() < self._deadline:
            time.sleep(min(1.0, self._timeout / 10))
        _LOGGER.error(
            "no step finished within %.0f s: a peer is stuck, or %s is too short",
            self._timeout,
            self._option,
        )
        os._exit(exit_codes.PEER_LOST)


def schedule_exit(seconds: int) -> None:
    """End this process after `seconds` with NOT_JOINED, even while no Python thread runs.

    The handler is a function of the C library: one in Python would wait for the interpreter.
    """
    library = ctypes.CDLL(None)
    library.signal(signal.SIGALRM, library._exit)  # called with the number of the signal
    signal.alarm(seconds)


def cancel_exit() -> None:
    """Take back `schedule_exit`."""
    signal.alarm(0)


def kill_on_parent_exit(parent_pid: int) -> None:
    """Let the kernel kill this process when its parent ends: no worker outlives its launcher."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(exit_codes.PEER_LOST)  # the parent ended before the call above


def count_usable_cores() -> int:
    """Return the number of CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0))
