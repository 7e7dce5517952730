"""Submits a run: uploads the pipeline if needed, then creates the run of the key, or finds it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from components import __version__
from components.config.cluster import ClusterConfig
from components.errors import ConfigError, UsageError
from components.storage.uri import is_remote_uri
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.deduplication import (
    RunMarker,
    SubmittedRun,
    create_deduplicated,
    parse_run_marker,
)
from pipeline.kubeflow.records import ServerHealth
from pipeline.kubeflow.submission import Submission, compute_digest

KEY_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
MIN_SERVER_VERSION = (2, 0)
RECENT_RUNS = 100
"""Runs among which the latest one of the same content is looked for: one page of the API."""


def check_server(client: KubeflowClient) -> ServerHealth:
    """The server's health. Raises ConfigError if it is too old or forbids listing runs."""
    health = client.health
    found = re.match(r"v?(\d+)\.(\d+)", health.version)
    if found and (int(found[1]), int(found[2])) < MIN_SERVER_VERSION:
        raise ConfigError(
            f"{client.endpoint.url} is Kubeflow Pipelines {health.version}; "
            f"kubert needs {MIN_SERVER_VERSION[0]}.{MIN_SERVER_VERSION[1]} or newer"
        )
    if (experiment_id := client.find_experiment(client.endpoint.experiment)) is not None:
        client.list_runs(experiment_id, limit=1)
    return health


def set_run_namespace(cluster: ClusterConfig, health: ServerHealth) -> ClusterConfig:
    """The section with the namespace in which the server starts runs.

    A single-user server starts all of them in its own, whatever the configuration says.
    """
    namespace = cluster.namespace if health.multi_user else cluster.kubeflow_namespace
    return cluster.model_copy(update={"namespace": namespace})


def check_key(key: str) -> str:
    """The key, if it can be the name of a run; else raises UsageError."""
    if not re.fullmatch(KEY_PATTERN, key):
        raise UsageError(
            f"--key {key}: use letters, digits, '.', '_' and '-', at most 63, "
            "such as nightly-2026-01-31"
        )
    return key


def submit_run(
    client: KubeflowClient,
    submission: Submission,
    key: str | None,
    *,
    no_cache: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> SubmittedRun:
    """The run of this key, or without a key a new run; its pipeline is uploaded first if missing.

    Raises ConfigError if the key's run was submitted with other content.
    """
    experiment_id = client.ensure_experiment(client.endpoint.experiment)
    pipeline_id, version_id = upload_pipeline(client, submission)
    name = key or _generate_run_name(submission)
    fingerprint = _choose_fingerprint(client, experiment_id, submission, name, no_cache=no_cache)
    body = {
        **_build_run_body(submission, name, fingerprint),
        "experiment_id": experiment_id,
        "pipeline_version_reference": {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": version_id,
        },
    }
    marker = RunMarker(name, submission.content_digest, secrets.token_hex(4))
    return create_deduplicated(client, body, marker, shared=key is not None, sleep=sleep)


def plan_submission(
    client: KubeflowClient, submission: Submission, key: str | None, *, no_cache: bool = False
) -> dict[str, Any]:
    """What `submit_run` would send, and what the server has already; changes nothing there."""
    name = key or _generate_run_name(submission)
    experiment_id = client.find_experiment(client.endpoint.experiment)
    pipeline_id = client.find_pipeline(submission.kind.name)
    version_id = (
        client.find_pipeline_version(pipeline_id, submission.version_name) if pipeline_id else None
    )
    existing = client.list_runs(experiment_id, display_name=name) if key and experiment_id else []
    fingerprint = _choose_fingerprint(client, experiment_id, submission, name, no_cache=no_cache)
    return {
        "endpoint": client.endpoint.url,
        "namespace": client.endpoint.namespace,
        "experiment": {"name": client.endpoint.experiment, "exists": experiment_id is not None},
        "pipeline": {
            "name": submission.kind.name,
            "version": submission.version_name,
            "uploaded": version_id is not None,
        },
        "key": {"name": key, "run": existing[-1].id if existing else None},
        "run": _build_run_body(submission, name, fingerprint),
    }


def upload_pipeline(client: KubeflowClient, submission: Submission) -> tuple[str, str]:
    """Ids of the pipeline and of the version with the submission's content, created if missing."""
    pipeline_id = client.ensure_pipeline(submission.kind.name, submission.kind.description)
    version_id = client.ensure_pipeline_version(
        pipeline_id, submission.version_name, submission.package
    )
    return pipeline_id, version_id


def _generate_run_name(submission: Submission) -> str:
    return f"{submission.subject}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def _choose_fingerprint(
    client: KubeflowClient,
    experiment_id: str | None,
    submission: Submission,
    name: str,
    *,
    no_cache: bool,
) -> str:
    """What decides, beside inputs and options, whether the server's cache answers; empty: nothing.

    A run without the cache has one of its own. Data in object storage may change without notice, so
    a run that reads them has one, too, and so has one that begins with a release: the champion may
    have changed. Any other run takes that of the latest run of the same
    content that succeeded: what `--no-cache` made again is used from then on, instead of artifacts
    that were deleted.
    """
    config = submission.config
    if not submission.kind.is_cached:
        return ""
    sources = (*config.data.sources, *config.data.test_sources)
    starts_from_release = config.model.start_from is not None
    if no_cache or starts_from_release or any(is_remote_uri(uri) for uri in sources):
        return compute_digest(name)
    default = submission.runtime_config["parameters"].get("fingerprint", "")
    if experiment_id is None:
        return str(default)
    for run in client.list_runs(experiment_id, limit=RECENT_RUNS):
        marker = parse_run_marker(run)
        if marker and marker.content == submission.content_digest and run.state == "SUCCEEDED":
            return str(run.parameters.get("fingerprint") or "")
    return str(default)


def _build_run_body(submission: Submission, name: str, fingerprint: str) -> dict[str, Any]:
    """The run as the API takes it, without ids."""
    config, runtime_config = submission.config, submission.runtime_config
    if fingerprint:
        runtime_config["parameters"]["fingerprint"] = fingerprint
    return {
        "display_name": name,
        "description": f"kubert {__version__}: {submission.description}",
        "runtime_config": runtime_config,
        "service_account": config.cluster.service_account,
    }
