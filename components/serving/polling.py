"""A polling loop that survives failures of what it polls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from components.errors import ConfigError, KubertError, UsageError


def poll_forever(
    poll: Callable[[], object],
    interval_seconds: float,
    on_failure: Callable[[Exception, int], float],
) -> NoReturn:
    """Call `poll` every `interval_seconds`, until something ends the process.

    `on_failure` gets a failure (KubertError or OSError) with the number of failures in a row, logs
    it and returns the seconds to wait. A ConfigError or UsageError of the first call is raised:
    waiting does not help against a wrong reference or refused access.
    """
    is_first_call = True
    failures = 0
    while True:
        wait = interval_seconds
        try:
            poll()
            failures = 0
        except (KubertError, OSError) as error:
            if is_first_call and isinstance(error, ConfigError | UsageError):
                raise
            failures += 1
            wait = on_failure(error, failures)
        is_first_call = False
        time.sleep(wait)
