"""Creates a run so that one key is one run, however often and by whomever it is submitted.

Kubeflow Pipelines has no idempotency key and lets any number of runs share a name. So a run is
named after its key, and a submitter

1. looks for a run of that name, and returns it if there is one;
2. creates one, and waits until every other that was created as quickly is visible;
3. keeps the first of all, by creation time, then id; if its own is another one, it deletes its own.

A submitter that needed more than CREATE_TIMEOUT_SECONDS from looking to the reply, or got no reply,
cannot know that the others waited for it: it keeps its own run only if that is the only one. A
submitter without a run returns another's only while that is the only one, or if it is so old that
its creator has decided. So two submitters never keep two runs, unless the server shows a run later
than it answered the creator.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from components.errors import ConfigError, KubertError
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.errors import AmbiguousOutcomeError, InvalidRequestError, RateLimitedError
from pipeline.kubeflow.records import Run

CREATE_TIMEOUT_SECONDS = 3.0
CLOCK_RESOLUTION_SECONDS = 1.0
"""The server's times are whole seconds."""
VISIBILITY_DELAY_SECONDS = CREATE_TIMEOUT_SECONDS + CLOCK_RESOLUTION_SECONDS
CREATOR_DECIDED_AFTER_SECONDS = 60.0
"""Age at which a run that still exists counts as kept by its creator."""
MAX_ROUNDS = 8
MAX_CREATE_FAILURES = 3
MAX_RETRY_AFTER_SECONDS = 15.0
_MARKER_PATTERN = re.compile(r"\[kubert key=(\S+) content=([0-9a-f]+) by=([0-9a-f]+)\]$")


class SubmissionConflictError(KubertError):
    """Other submitters of the same key interfered in every round."""


@dataclass(frozen=True)
class RunMarker:
    """The end of a run's description: its key, its content's digest, an id of its submitter."""

    key: str
    content: str
    submitter: str

    def __str__(self) -> str:
        return f"[kubert key={self.key} content={self.content} by={self.submitter}]"


@dataclass(frozen=True)
class SubmittedRun:
    """The run, and whether this call created it."""

    run: Run
    created: bool


def parse_run_marker(run: Run) -> RunMarker | None:
    """The marker of a run that kubert submitted; None for any other run."""
    found = _MARKER_PATTERN.search(run.description)
    return RunMarker(*found.groups()) if found else None


def create_deduplicated(
    client: KubeflowClient,
    body: Mapping[str, Any],
    marker: RunMarker,
    *,
    shared: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> SubmittedRun:
    """The one run with the marker's key. `shared`: others may be creating it at the same time.

    Raises InvalidRequestError or PermissionDeniedError if the server refuses, AmbiguousOutcomeError
    or RateLimitedError if creating kept failing, SubmissionConflictError if others interfered too
    often, ConfigError if the key's run has other content.
    """
    body = {**body, "description": f"{body['description']} {marker}"}
    failures: list[KubertError] = []
    for round_number in range(MAX_ROUNDS):
        if round_number:
            sleep(min(0.5 * 2**round_number, 10.0) * (1 + secrets.randbelow(100) / 100))
        looked_at = time.monotonic()
        existing = _find_runs_of_key(client, body, marker)
        created_in_time = False
        if not existing:
            try:
                run = client.create_run(body)
            except (RateLimitedError, AmbiguousOutcomeError) as error:
                failures.append(error)
                if len(failures) > MAX_CREATE_FAILURES:
                    break
                sleep(_choose_failure_wait(error))
                continue
            if not shared and not failures:
                return SubmittedRun(run, created=True)
            created_in_time = time.monotonic() - looked_at <= CREATE_TIMEOUT_SECONDS
        elif not _filter_by_marker(marker, existing) and _has_creator_decided(client, existing[0]):
            return SubmittedRun(existing[0], created=False)
        # The creator of what was found needs up to the delay to decide, and some time to delete it.
        sleep(2 * VISIBILITY_DELAY_SECONDS if existing else VISIBILITY_DELAY_SECONDS)
        visible = _find_runs_of_key(client, body, marker)
        winner = _resolve_duplicates(client, visible, marker, created_in_time=created_in_time)
        if winner is not None:
            return SubmittedRun(winner, created=True)
        if not _filter_by_marker(marker, visible) and _is_same_single_run(existing, visible):
            return SubmittedRun(visible[0], created=False)
    if failures:
        raise failures[-1]
    raise SubmissionConflictError(
        f"run {body['display_name']}: other submissions of this key kept interfering; try again"
    )


def _choose_failure_wait(error: RateLimitedError | AmbiguousOutcomeError) -> float:
    """Seconds to wait: a request without a reply may still take effect within the delay."""
    if isinstance(error, RateLimitedError):
        return min(error.retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)
    return VISIBILITY_DELAY_SECONDS


def _has_creator_decided(client: KubeflowClient, run: Run) -> bool:
    age = client.server_time() - run.created_at
    return run.has_ended or age.total_seconds() > CREATOR_DECIDED_AFTER_SECONDS


def _is_same_single_run(earlier: list[Run], later: list[Run]) -> bool:
    return len(later) == 1 and [run.id for run in earlier] == [later[0].id]


def _find_runs_of_key(
    client: KubeflowClient, body: Mapping[str, Any], marker: RunMarker
) -> list[Run]:
    """Runs of this name and key that nobody has deleted, the first one first."""
    found = []
    for run in client.list_runs(str(body["experiment_id"]), display_name=str(body["display_name"])):
        other = parse_run_marker(run)
        if other is None or other.key != marker.key:
            continue
        if other.content != marker.content:
            raise ConfigError(
                f"--key {marker.key}: run {run.id} has this key and was submitted with other "
                "options or another pipeline; choose another key, or see the run with "
                f"`kubert runs show {run.id}`"
            )
        found.append(run)
    return sorted(found, key=lambda run: (run.created_at, run.id))


def _resolve_duplicates(
    client: KubeflowClient, visible: list[Run], marker: RunMarker, *, created_in_time: bool
) -> Run | None:
    """The submitter's run if it is the one to keep, the others deleted; else deletes its own."""
    own = _filter_by_marker(marker, visible)
    if own and visible[0] == own[0] and (created_in_time or own == visible):
        for run in visible[1:]:
            _delete_duplicate(client, run)
        return own[0]
    for run in own:
        _delete_duplicate(client, run)
    return None


def _filter_by_marker(marker: RunMarker, runs: list[Run]) -> list[Run]:
    return [run for run in runs if parse_run_marker(run) == marker]


def _delete_duplicate(client: KubeflowClient, run: Run) -> None:
    with suppress(InvalidRequestError):  # it has ended; deleting it is what counts
        client.terminate_run(run.id)
    client.delete_run(run.id)
