"""Waits for what a server or a cluster shows, by asking every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

INTERVAL_SECONDS = 2.0
T = TypeVar("T")


def wait_for(find: Callable[[], T], what: str, seconds: float) -> T:
    """The first true answer of `find`; AssertionError that says what never came."""
    deadline = time.monotonic() + seconds
    while not (answer := find()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(INTERVAL_SECONDS)
    return answer
