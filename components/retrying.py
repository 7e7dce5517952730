"""One retry policy for every network client: storage, Kubernetes and Kubeflow Pipelines."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import tenacity

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter, bounded by attempts and by time.

    The wait before attempt n+1 is random between 0 and first_wait_seconds * 2**(n-1), at most
    max_wait_seconds. No attempt starts after `deadline_seconds` since the first one; `max_attempts`
    None means no other bound.
    """

    first_wait_seconds: float
    max_wait_seconds: float
    deadline_seconds: float
    max_attempts: int | None = None

    def build_retrying(
        self,
        retry_on: type[BaseException] | tuple[type[BaseException], ...],
        *,
        sleep: Callable[[float], None] = time.sleep,
        stop_event: threading.Event | None = None,
        requested_wait: Callable[[BaseException], float | None] = lambda error: None,
    ) -> tenacity.Retrying:
        """A callable that repeats a call while it raises `retry_on`, then raises its last error.

        stop_event: ends a wait at once, and allows no further attempt; replaces `sleep`.
        requested_wait: seconds that the server asked for (Retry-After); used up to
        max_wait_seconds.
        """
        stop = tenacity.stop_any(tenacity.stop_after_delay(self.deadline_seconds))
        if self.max_attempts is not None:
            stop = tenacity.stop_any(stop, tenacity.stop_after_attempt(self.max_attempts))
        if stop_event is not None:
            stop = tenacity.stop_any(stop, tenacity.stop_when_event_set(stop_event))
            sleep = tenacity.sleep_using_event(stop_event)
        backoff = tenacity.wait_random_exponential(
            multiplier=self.first_wait_seconds, max=self.max_wait_seconds
        )

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = requested_wait(error) if error is not None else None
            return backoff(state) if asked is None else min(asked, self.max_wait_seconds)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(retry_on),
            stop=stop,
            wait=wait,
            sleep=sleep,
            before_sleep=_log_attempt,
            reraise=True,
        )


def _log_attempt(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0.0
    _LOGGER.debug(
        "attempt %d failed (%s: %s); the next one in %.1f s",
        state.attempt_number,
        type(error).__name__,
        error,
        wait,
    )
