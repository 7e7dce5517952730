"""Runs a worker group as a JobSet: create or adopt, monitor, and delete it when stopped.

The JobSet restarts its workers without the launcher, so nothing is lost when the launcher is
restarted: the next one, or that of another run of the same training, finds the JobSet by its name
and goes on with it. A launcher that follows a JobSet keeps its heartbeat going; without any, the
workers save a checkpoint and end.
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
from components.workers.kubernetes.monitor import (
    JobSetDeletedError,
    JobSetMonitor,
    LauncherLostError,
)
from components.workers.kubernetes.status import parse_jobset, read_owner_uids
from components.workers.launcher_heartbeat import LauncherHeartbeat
from components.workers.process_control import graceful_stop_event

_LOGGER = logging.getLogger(__name__)
RECREATE_INTERVAL_SECONDS = 2.0
STOP_TIMEOUT_SECONDS = 10.0
MAX_RECREATIONS = 3
HEARTBEAT_TIMEOUT_SECONDS = 900.0


def run_jobset(group: WorkerGroup, cluster: ClusterConfig) -> None:
    """Return when the JobSet of the group has completed.

    Raises the error that a worker reported for the user, WorkerGroupInterruptedError, or
    WorkerGroupFailedError with a report. A stopped or failed launcher leaves no JobSet behind,
    unless another launcher follows the same one.
    """
    launcher = LauncherPod.from_environment(os.environ, cluster.namespace)
    document = job_document_name(group)
    body = render_jobset(group, f"{group.directory}/{document}", cluster, launcher)
    _write_job_document(group, document)
    heartbeat = LauncherHeartbeat(open_store(group.directory), body["metadata"]["name"])
    with graceful_stop_event() as stop:
        try:
            with heartbeat:
                client = JobSetClient(launcher.namespace, stop)
                run_to_end(client, body, group, cluster, stop, heartbeat)
        except KubertError:
            if stop.is_set():  # whatever failed, it was cut short
                raise WorkerGroupInterruptedError from None
            raise


def run_to_end(
    client: JobSetClient,
    body: KubernetesObject,
    group: WorkerGroup,
    cluster: ClusterConfig,
    stop: threading.Event,
    heartbeat: LauncherHeartbeat,
) -> None:
    """Follow the JobSet until the group is finished; see `run_jobset`.

    It is created again after it was deleted together with the launcher's pod that owned it, and
    after its workers ended because they saw no heartbeat: at most MAX_RECREATIONS times.
    """
    name, own_uids = body["metadata"]["name"], read_owner_uids(body)
    recreations = 0
    while not group.is_finished():
        owner_uids = create_or_attach(client, body, group.step, cluster.pod_start_timeout, stop)
        monitor = JobSetMonitor(client, name, group, cluster, stop)
        try:
            monitor.wait()
            return
        except (JobSetDeletedError, LauncherLostError) as error:
            is_deleted = isinstance(error, JobSetDeletedError)
            if is_deleted and owner_uids == own_uids:
                # Somebody wants that the training stops, and most likely stops the run as well.
                stop.wait(STOP_TIMEOUT_SECONDS)
                raise
            if recreations == MAX_RECREATIONS:
                raise
            if not heartbeat.wait_for_next(stop, HEARTBEAT_TIMEOUT_SECONDS):
                raise
            recreations += 1
            cause = f"the JobSet {name} was deleted" if is_deleted else str(error).splitlines()[0]
            progress.report(group.step, f"{cause}; starting the workers again")
        finally:
            if not (monitor.has_ended or heartbeat.has_other_launcher):
                _delete_at_stop(client, name)


def _delete_at_stop(client: JobSetClient, name: str) -> None:
    """Delete the JobSet; what ends the launcher matters more than a failing deletion.

    The workers end by themselves when they see no heartbeat.
    """
    try:
        client.delete_jobset(name)
    except KubertError as error:
        _LOGGER.warning("the JobSet %s could not be deleted: %s", name, error)


def create_or_attach(
    client: JobSetClient,
    body: KubernetesObject,
    step: StepName,
    timeout: float,
    stop: threading.Event,
) -> tuple[str, ...]:
    """Make sure that the JobSet is running: a new one, or that of another launcher.

    Returns the UIDs of the launchers' pods that own it. One that has ended is deleted first, for
    which there are `timeout` seconds. Raises ConfigError if there is a JobSet of this name with
    another spec.
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
            return jobset.owner_uids
        if not jobset.is_deleting:
            client.delete_jobset(name, jobset.uid)
        if time.monotonic() > deadline:
            raise WorkerGroupFailedError(
                f"the previous JobSet {name} still exists after {timeout:.0f} s; "
                "one of its pods may be stuck on a node that is down"
            )
        progress.report(step, f"waiting until the previous JobSet {name} is deleted")
        stop.wait(RECREATE_INTERVAL_SECONDS)
        if stop.is_set():
            raise WorkerGroupInterruptedError
    return read_owner_uids(body)


def _write_job_document(group: WorkerGroup, name: str) -> None:
    text = group.format_job_document()
    if has_scheme(group.directory):
        open_store(group.directory).write(name, text.encode())
    else:
        path = Path(group.directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)
