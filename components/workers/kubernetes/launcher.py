"""Runs a worker group as a JobSet: create or re-attach, monitor, and delete it when stopped.

The JobSet restarts its workers without the launcher, so nothing is lost when the launcher is
restarted: the next one finds the JobSet by its name.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from components import progress
from components.config.cluster import ClusterConfig
from components.errors import ConfigError, KubertError
from components.progress import StepName
from components.storage.atomic_files import atomic_write
from components.storage.store import open_store
from components.storage.uri import has_scheme
from components.workers.exit_codes import WorkerGroupFailedError, WorkerGroupInterruptedError
from components.workers.group import WorkerGroup
from components.workers.kubernetes.client import JobSetClient, KubernetesObject
from components.workers.kubernetes.jobset_manifest import (
    SPEC_DIGEST_ANNOTATION,
    LauncherPod,
    job_document_name,
    render_jobset,
)
from components.workers.kubernetes.monitor import JobSetMonitor
from components.workers.kubernetes.status import parse_jobset
from components.workers.process_control import graceful_stop_event

_LOGGER = logging.getLogger(__name__)
RECREATE_INTERVAL_SECONDS = 2.0


def run_jobset(group: WorkerGroup, cluster: ClusterConfig) -> None:
    """Return when the JobSet of the group has completed.

    Raises the error that a worker reported for the user, WorkerGroupInterruptedError, or
    WorkerGroupFailedError with a report. A stopped or failed launcher leaves no JobSet behind.
    """
    launcher = LauncherPod.from_environment(os.environ, cluster.namespace)
    name = job_document_name(group, launcher)
    body = render_jobset(group, f"{group.directory}/{name}", cluster, launcher)
    _write_job_document(group, name)
    with graceful_stop_event() as stop:
        try:
            _run_to_end(JobSetClient(launcher.namespace, stop), body, group, cluster, stop)
        except KubertError:
            if stop.is_set():  # whatever failed, it was cut short
                raise WorkerGroupInterruptedError from None
            raise


def _run_to_end(
    client: JobSetClient,
    body: KubernetesObject,
    group: WorkerGroup,
    cluster: ClusterConfig,
    stop: threading.Event,
) -> None:
    create_or_attach(client, body, group.step, cluster.pod_start_timeout, stop)
    name = body["metadata"]["name"]
    monitor = JobSetMonitor(client, name, group, cluster, stop)
    try:
        monitor.wait()
    finally:
        if not monitor.has_ended:
            # What ended the monitor matters more than a failing deletion; the JobSet is deleted
            # with the launcher's pod at the latest.
            try:
                client.delete_jobset(name)
            except KubertError as error:
                _LOGGER.warning("the JobSet %s may still run: %s", name, error)


def create_or_attach(
    client: JobSetClient,
    body: KubernetesObject,
    step: StepName,
    timeout: float,
    stop: threading.Event,
) -> None:
    """Make sure that the JobSet is running: a new one, or that of an earlier launcher.

    One that has ended is deleted first, for which there are `timeout` seconds. Raises ConfigError
    if there is a JobSet of this name with another spec.
    """
    metadata = body["metadata"]
    name, digest = metadata["name"], metadata["annotations"][SPEC_DIGEST_ANNOTATION]
    deadline = time.monotonic() + timeout
    while not client.create_jobset(body):
        found = client.get_jobset(name)
        if found is None:
            continue
        jobset = parse_jobset(found)
        if jobset.spec_digest != digest:
            raise ConfigError(
                f"a JobSet {name} with another spec exists in namespace {metadata['namespace']}; "
                "delete it"
            )
        if not jobset.is_deleting and jobset.phase in ("queued", "running"):
            progress.report(step, f"attached to the running JobSet {name}")
            return
        if not jobset.is_deleting:
            client.delete_jobset(name)
        if time.monotonic() > deadline:
            raise WorkerGroupFailedError(
                f"the previous JobSet {name} still exists after {timeout:.0f} s; "
                "one of its pods may be stuck on a node that is down"
            )
        progress.report(step, f"waiting until the previous JobSet {name} is deleted")
        stop.wait(RECREATE_INTERVAL_SECONDS)
        if stop.is_set():
            raise WorkerGroupInterruptedError


def _write_job_document(group: WorkerGroup, name: str) -> None:
    text = group.format_job_document()
    if has_scheme(group.directory):
        open_store(group.directory).write(name, text.encode())
    else:
        path = Path(group.directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)
