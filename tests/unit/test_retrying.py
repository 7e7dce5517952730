"""The retry policy: how often a call is repeated, how long the waits are, and what ends them."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from components.retrying import RetryPolicy

POLICY = RetryPolicy(
    first_wait_seconds=1.0, max_wait_seconds=4.0, deadline_seconds=60.0, max_attempts=5
)


class BusyError(Exception):
    """A failure that is retried."""

    def __init__(self, requested_wait: float | None = None) -> None:
        super().__init__("busy")
        self.requested_wait = requested_wait


class FailingCall:
    """Raises the errors in order, then returns the number of attempts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.attempts = 0

    def __call__(self) -> int:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.attempts


def test_a_call_is_repeated_until_it_succeeds_with_growing_bounded_waits() -> None:
    bounds = (1.0, 2.0, 4.0, 4.0)
    for _ in range(20):
        waits: list[float] = []
        call = FailingCall(*[BusyError() for _ in bounds])
        assert POLICY.build_retrying(BusyError, sleep=waits.append)(call) == 5
        assert all(0 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
        assert len(set(waits)) == len(waits)


def test_the_last_error_is_raised_after_the_last_attempt() -> None:
    call = FailingCall(*[BusyError() for _ in range(9)])
    retrying = POLICY.build_retrying(BusyError, sleep=lambda seconds: None)
    with pytest.raises(BusyError):
        retrying(call)
    assert call.attempts == retrying.statistics["attempt_number"] == 5


def test_other_errors_are_raised_at_once() -> None:
    call = FailingCall(KeyError())
    with pytest.raises(KeyError):
        POLICY.build_retrying(BusyError, sleep=lambda seconds: None)(call)
    assert call.attempts == 1


def test_no_attempt_starts_after_the_deadline() -> None:
    policy = RetryPolicy(first_wait_seconds=0.01, max_wait_seconds=0.01, deadline_seconds=0.1)
    started = time.monotonic()
    with pytest.raises(BusyError):
        policy.build_retrying(BusyError)(FailingCall(*[BusyError() for _ in range(10_000)]))
    assert 0.1 <= time.monotonic() - started < 5


def test_a_wait_that_the_server_asks_for_is_used_up_to_the_longest() -> None:
    waits: list[float] = []
    retrying = POLICY.build_retrying(
        BusyError,
        sleep=waits.append,
        requested_wait=lambda error: getattr(error, "requested_wait", None),
    )
    retrying(FailingCall(BusyError(3.0), BusyError(100.0)))
    assert waits == [3.0, 4.0]


def test_a_stop_event_ends_the_wait_and_the_attempts() -> None:
    policy = RetryPolicy(first_wait_seconds=300.0, max_wait_seconds=300.0, deadline_seconds=900.0)
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    call = FailingCall(*[BusyError() for _ in range(9)])
    started = time.monotonic()
    with pytest.raises(BusyError):
        policy.build_retrying(BusyError, stop_event=stop)(call)
    assert time.monotonic() - started < 10
    assert call.attempts <= 2


def test_each_failed_attempt_is_a_debug_message(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("components"), "propagate", True)
    with caplog.at_level(logging.DEBUG, logger="components.retrying"):
        POLICY.build_retrying(BusyError, sleep=lambda seconds: None)(FailingCall(BusyError()))
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert caplog.messages[0].startswith("attempt 1 failed (BusyError: busy); the next one in ")
