"""Checks of `kubert doctor`: each ends in time with one finding, and what to do about a problem.

A check that raises an unexpected error or does not end is a finding, too, and hides no other.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.errors import KubertError

State = Literal["ok", "warning", "missing"]
DEFAULT_TIMEOUT_SECONDS = 15.0
MAX_REASON_CHARACTERS = 200
_COMMANDS = ("kubectl ", "kubert ")


@dataclass(frozen=True)
class Finding:
    """The result of a check; `remedy` is empty if nothing has to be done.

    details: the values in the message, for programs.
    """

    state: State
    message: str
    remedy: str = ""
    details: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """Message and remedy, as two sentences; a command stays as it is typed."""
        if not self.remedy:
            return self.message
        is_command = self.remedy.startswith(_COMMANDS)
        first = self.remedy[0] if is_command else self.remedy[0].upper()
        return f"{self.message}{': ' if is_command else '. '}{first}{self.remedy[1:]}"

    @classmethod
    def ok(cls, message: str, details: Mapping[str, Any] | None = None) -> Finding:
        """It exists and works."""
        return cls("ok", message, details=details)

    @classmethod
    def warning(
        cls, message: str, remedy: str, details: Mapping[str, Any] | None = None
    ) -> Finding:
        """Runs work without it, or it could not be checked."""
        return cls("warning", message, remedy, details)

    @classmethod
    def missing(
        cls, message: str, remedy: str, details: Mapping[str, Any] | None = None
    ) -> Finding:
        """Runs will not work."""
        return cls("missing", message, remedy, details)


@dataclass(frozen=True)
class Check:
    """One check. It is skipped if the check named `requires` found something missing."""

    name: str
    run: Callable[[], Finding]
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    requires: str = ""


def run_checks(checks: Iterable[Check]) -> Iterator[tuple[str, Finding]]:
    """Run the checks in order and yield the name and finding of each that is not skipped."""
    missing: set[str] = set()
    for check in checks:
        if check.requires in missing:
            missing.add(check.name)
            continue
        finding = _run_with_timeout(check)
        if finding.state == "missing":
            missing.add(check.name)
        yield check.name, finding


def _run_with_timeout(check: Check) -> Finding:
    results: queue.SimpleQueue[Finding] = queue.SimpleQueue()
    # A thread that does not end must not keep the command from ending.
    threading.Thread(target=lambda: results.put(_run_safely(check)), daemon=True).start()
    try:
        return results.get(timeout=check.timeout_seconds)
    except queue.Empty:
        return Finding.missing(
            f"no answer within {check.timeout_seconds:g} s",
            "check the network and the address, then try again",
        )


def _run_safely(check: Check) -> Finding:
    """The check's finding, or one that describes the error that it raised."""
    try:
        return check.run()
    except KubertError as error:
        return Finding.missing(join_lines(error), "")
    except Exception as error:
        reason = f"{type(error).__name__}: {join_lines(error)[:MAX_REASON_CHARACTERS]}"
        return Finding.missing(f"the check failed ({reason})", "this may be a bug in kubert")


def join_lines(error: Exception) -> str:
    """An error's message as one line."""
    return " ".join(str(error).split())
