"""SIGTERM asks for a checkpoint and an orderly end; it is taken by a thread of its own.

TensorFlow swallows SIGTERM, and Python's own handlers wait for the main thread, which may be stuck in a collective. So
the signal is blocked in every thread, before TensorFlow starts any, and one thread waits for it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from components.workers import exit_codes

_PR_SET_PDEATHSIG = 1


class StopRequest:
    """Whether somebody asked this process to stop; install it before importing TensorFlow.

    After a request the process has `grace` seconds to leave by itself; then it ends with the code of a lost peer, whatever
    its main thread hangs in.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._asked = threading.Event()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        threading.Thread(target=self._wait, daemon=True, name="stop-request").start()

    def __call__(self) -> bool:
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for a request, at most so long; whether one came."""
        return self._asked.wait(seconds)

    def _wait(self) -> None:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        self._asked.set()
        time.sleep(self._grace)
        os._exit(exit_codes.PEER_LOST)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set while the block runs (only where signals can be handled: the main thread).

    For a launcher, whose main thread does not hang in TensorFlow.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(_: int, __: FrameType | None) -> None:
        event.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Watchdog:
    """Ends the process with the code of a lost peer when `beat` was not called for `deadline` seconds.

    The first beat may take up to `first` seconds: the first step compiles, and its peers may have come later.
    """

    def __init__(self, deadline: float, first: float) -> None:
        self._deadline = deadline
        self._until = time.monotonic() + max(first, deadline)
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def beat(self) -> None:
        """A step was finished."""
        self._until = time.monotonic() + self._deadline

    def _watch(self) -> None:
        while time.monotonic() < self._until:
            time.sleep(min(1.0, self._deadline / 10))
        print(
            f"no step was finished in time ({self._deadline:.0f} s); a peer hangs, or train.stall_deadline is too short",
            flush=True,
        )
        os._exit(exit_codes.PEER_LOST)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, ends: a worker must not outlive its launcher."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(exit_codes.PEER_LOST)  # it ended before this could be asked for
