"""Submits a run: the pipeline is uploaded once per content, and one key is one run however often, and by however many, it is submitted.

The server knows no idempotency key and lets any number of runs have one name. So a run is named after its key, and who submits it

1. looks for a run of that name, and takes it if it is there;
2. creates one, and waits until every other that was created as quickly can be seen;
3. keeps the first of all (time of creation, then id); whose own is another, takes it away again.

Whoever needed longer than QUICK seconds from looking to the reply, or never got a reply, cannot know that the others waited for it: it
keeps its own only where it is alone. Who has none takes another's only where that stays alone, or is so old that its creator has
decided. So two never keep two, unless the server shows a run later than it answered its creator.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from components import __version__
from components.errors import ConfigError, KubertError, UsageError
from components.storage.uri import is_remote_uri
from pipeline import definition
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.errors import AmbiguousOutcomeError, InvalidRequestError, RateLimitedError
from pipeline.kubeflow.records import Run, ServerHealth
from pipeline.kubeflow.submission import Submission

CREATE_TIMEOUT_SECONDS = 3.0
CLOCK_RESOLUTION_SECONDS = 1.0
"""The server's times are whole seconds."""
VISIBILITY_DELAY_SECONDS = CREATE_TIMEOUT_SECONDS + CLOCK_RESOLUTION_SECONDS
CREATOR_DECIDED_AFTER_SECONDS = 60.0
"""Seconds after which a run is taken for kept by whoever created it."""
MAX_ROUNDS = 8
MAX_CREATE_FAILURES = 3
KEY_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
MIN_SERVER_VERSION = (2, 0)
_MARKER_PATTERN = re.compile(r"\[kubert key=(\S+) content=([0-9a-f]+) by=([0-9a-f]+)\]$")


class SubmissionConflictError(KubertError):
    """Other submits of the same key got in the way again and again."""


@dataclass(frozen=True)
class RunMarker:
    """What a run says of itself at the end of its description: its key, a digest of its content, and who asked for it."""

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


def check_server(api: KubeflowClient) -> ServerHealth:
    """What the server says of itself; ConfigError if it is too old or does not let us list runs. Nothing is changed."""
    health = api.get_health()
    found = re.match(r"v?(\d+)\.(\d+)", health.version)
    if found and (int(found[1]), int(found[2])) < MIN_SERVER_VERSION:
        raise ConfigError(
            f"{api.endpoint.url} is Kubeflow Pipelines {health.version}; kubert needs {MIN_SERVER_VERSION[0]}.{MIN_SERVER_VERSION[1]} or newer"
        )
    if (experiment := api.find_experiment(api.endpoint.experiment)) is not None:
        api.list_runs(experiment, limit=1)
    return health


def check_key(key: str) -> str:
    """The key, if it can be the name of a run."""
    if not re.fullmatch(KEY_PATTERN, key):
        raise UsageError(
            f"--key {key}: use letters, digits, '.', '_' and '-', at most 63, such as nightly-2026-01-31"
        )
    return key


def submit_run(
    api: KubeflowClient,
    submission: Submission,
    key: str | None,
    *,
    no_cache: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> SubmittedRun:
    """The run of this key, or without one a new run; its pipeline is uploaded first if the server lacks it.

    Raises ConfigError if the key's run was submitted with other content.
    """
    experiment = api.ensure_experiment(api.endpoint.experiment)
    pipeline, version = upload_pipeline(api, submission)
    name = key or _generate_run_name(submission)
    body = {
        **_build_run_body(submission, name, no_cache=no_cache),
        "experiment_id": experiment,
        "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
    }
    return create_deduplicated(
        api,
        body,
        RunMarker(name, submission.digest, secrets.token_hex(4)),
        shared=key is not None,
        sleep=sleep,
    )


def plan_submission(
    api: KubeflowClient, submission: Submission, key: str | None, *, no_cache: bool = False
) -> dict[str, Any]:
    """What `submit` would send, and what is on the server already; nothing is changed there."""
    name = key or _generate_run_name(submission)
    experiment, pipeline = (
        api.find_experiment(api.endpoint.experiment),
        api.find_pipeline(definition.PIPELINE_NAME),
    )
    version = api.find_pipeline_version(pipeline, submission.version_name) if pipeline else None
    there = api.list_runs(experiment, display_name=name) if key and experiment else []
    return {
        "endpoint": api.endpoint.url,
        "namespace": api.endpoint.namespace,
        "experiment": {"name": api.endpoint.experiment, "exists": experiment is not None},
        "pipeline": {
            "name": definition.PIPELINE_NAME,
            "version": submission.version_name,
            "uploaded": version is not None,
        },
        "key": {"name": key, "run": there[-1].id if there else None},
        "run": _build_run_body(submission, name, no_cache=no_cache),
    }


def _generate_run_name(submission: Submission) -> str:
    return f"{submission.config.export.model_name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def _build_run_body(submission: Submission, name: str, *, no_cache: bool) -> dict[str, Any]:
    """The run, as far as it does not depend on ids. What lies in object storage may change unseen: the cache must not answer for it."""
    config, runtime = submission.config, submission.runtime_config
    if no_cache or any(
        place and is_remote_uri(place) for place in (config.data.source, config.data.test_source)
    ):
        runtime["parameters"]["fingerprint"] = hashlib.sha256(name.encode()).hexdigest()[:32]
    return {
        "display_name": name,
        "description": f"kubert {__version__}: {config.export.model_name} to {config.export.model_store}",
        "runtime_config": runtime,
        "service_account": config.cluster.service_account,
    }


def parse_run_marker(run: Run) -> RunMarker | None:
    """The mark of a run that kubert submitted."""
    found = _MARKER_PATTERN.search(run.description)
    return RunMarker(*found.groups()) if found else None


def upload_pipeline(api: KubeflowClient, submission: Submission) -> tuple[str, str]:
    """Ids of the pipeline and of the version with the submission's content, which exist afterwards."""
    pipeline = api.ensure_pipeline(
        definition.PIPELINE_NAME, "Labelled text to a verified, servable BERT classifier."
    )
    return pipeline, api.ensure_pipeline_version(
        pipeline, submission.version_name, submission.package
    )


def create_deduplicated(
    api: KubeflowClient,
    body: Mapping[str, Any],
    mark: RunMarker,
    *,
    shared: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> SubmittedRun:
    """The one run with the mark's key. `shared`: others may be creating it as well.

    Raises Refused or Denied as the server says, Uncertain or Busy if creating kept failing, Contended if others got in the way too often.
    """
    body = {**body, "description": f"{body['description']} {mark}"}
    failed: list[KubertError] = []
    for attempt in range(MAX_ROUNDS):
        if attempt:
            sleep(min(0.5 * 2**attempt, 10.0) * (1 + secrets.randbelow(100) / 100))
        looked = time.monotonic()
        found = _find_runs_of_key(api, body, mark)
        quick = False
        if not found:
            try:
                run = api.create_run(body)
            except (RateLimitedError, AmbiguousOutcomeError) as error:
                failed.append(error)
                if len(failed) > MAX_CREATE_FAILURES:
                    break
                # A request without a reply may still be under way; what asked for patience gets it.
                sleep(
                    min(error.retry_after_seconds or 0.0, 15.0)
                    if isinstance(error, RateLimitedError)
                    else VISIBILITY_DELAY_SECONDS
                )
                continue
            if not shared and not failed:
                return SubmittedRun(run, created=True)
            quick = time.monotonic() - looked <= CREATE_TIMEOUT_SECONDS
        elif not _filter_by_marker(mark, found) and (
            found[0].has_ended
            or (api.server_time() - found[0].created_at).total_seconds()
            > CREATOR_DECIDED_AFTER_SECONDS
        ):
            return SubmittedRun(found[0], created=False)
        # Who made what was found needs up to SETTLED to decide, and some time to take it away.
        sleep(2 * VISIBILITY_DELAY_SECONDS if found else VISIBILITY_DELAY_SECONDS)
        now = _find_runs_of_key(api, body, mark)
        if (kept := _resolve_duplicates(api, now, mark, quick=quick)) is not None:
            return SubmittedRun(kept, created=True)
        if (
            not _filter_by_marker(mark, now)
            and len(now) == 1
            and [run.id for run in found] == [now[0].id]
        ):
            return SubmittedRun(now[0], created=False)
    raise (
        failed[-1]
        if failed
        else SubmissionConflictError(
            f"run {body['display_name']}: other submits of this key kept interfering; try again"
        )
    )


def _find_runs_of_key(api: KubeflowClient, body: Mapping[str, Any], mark: RunMarker) -> list[Run]:
    """Runs of this name and key that nobody has taken back, the first one first."""
    found = []
    for run in api.list_runs(str(body["experiment_id"]), display_name=str(body["display_name"])):
        theirs = parse_run_marker(run)
        if theirs is None or theirs.key != mark.key:
            continue
        if theirs.content != mark.content:
            raise ConfigError(
                f"--key {mark.key}: run {run.id} has this key and was submitted with other options or another pipeline; "
                f"choose another key, or see it with `kubert runs show {run.id}`"
            )
        found.append(run)
    return sorted(found, key=lambda run: (run.created_at, run.id))


def _resolve_duplicates(
    api: KubeflowClient, found: list[Run], mark: RunMarker, *, quick: bool
) -> Run | None:
    """Our own run, if it is the one to keep, the others removed; else ours is, and None says to look again."""
    own = _filter_by_marker(mark, found)
    if own and found[0] == own[0] and (quick or own == found):
        for run in found[1:]:
            _delete_duplicate(api, run)
        return own[0]
    for run in own:
        _delete_duplicate(api, run)
    return None


def _filter_by_marker(mark: RunMarker, found: list[Run]) -> list[Run]:
    return [run for run in found if parse_run_marker(run) == mark]


def _delete_duplicate(api: KubeflowClient, run: Run) -> None:
    with suppress(InvalidRequestError):  # it has ended; deleting it is what counts
        api.terminate_run(run.id)
    api.delete_run(run.id)
