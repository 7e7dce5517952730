"""Every check ends in time with one finding: what is there, or what is missing and what to do about it.

A check that fails in a way that nobody foresaw, or does not end, is a finding, too, and hides no other.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from components.errors import KubertError

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Finding:
    """What a check found; `remedy` is empty where nothing is to be done."""

    state: State
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """One thing to look at. `needs` names a check that must not have been missing before this one makes sense."""

    name: str
    run: Callable[[], Finding]
    timeout_seconds: float = 15.0
    needs: str = ""


def ok(found: str) -> Finding:
    """It is there."""
    return Finding("ok", found)


def warning(found: str, remedy: str) -> Finding:
    """It works without, or it could not be looked at."""
    return Finding("warning", found, remedy)


def missing(found: str, remedy: str) -> Finding:
    """It will not work like this."""
    return Finding("missing", found, remedy)


def run_checks(checks: Iterable[Check]) -> Iterator[tuple[str, Finding]]:
    """Name and finding of each check, in order; checks whose need is missing are left out."""
    lacking: set[str] = set()
    for check in checks:
        if check.needs in lacking:
            lacking.add(check.name)
            continue
        finding = _run_with_timeout(check)
        if finding.state == "missing":
            lacking.add(check.name)
        yield check.name, finding


def _run_with_timeout(check: Check) -> Finding:
    answers: queue.SimpleQueue[Finding] = queue.SimpleQueue()

    def run_check() -> None:
        try:
            answers.put(check.run())
        except KubertError as error:
            answers.put(missing(" ".join(str(error).split()), ""))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            answers.put(
                missing(
                    f"could not be looked at ({type(error).__name__}: {reason})",
                    "this may be a defect in kubert",
                )
            )

    # A thread that is given up must not keep the command from ending.
    threading.Thread(target=run_check, daemon=True).start()
    try:
        return answers.get(timeout=check.timeout_seconds)
    except queue.Empty:
        return missing(
            f"no answer within {check.timeout_seconds:g} s",
            "check the network and the address, then try again",
        )
