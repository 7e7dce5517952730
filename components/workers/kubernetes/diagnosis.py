"""Diagnoses a JobSet: one table of rules over its status, pods and events, the first match wins.

Pure functions: `JobSetMonitor` fetches what they need, reports a retryable diagnosis as progress,
and fails the worker group with any other. To make kubert recognize one more failure, add a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from components.workers import exit_codes
from components.workers.group import format_restart_limit
from components.workers.kubernetes.independent_workers import find_exhausted_worker, select_newest
from components.workers.kubernetes.known_failures import STARTUP_FAILURES
from components.workers.kubernetes.status import ClusterEvent, JobSetStatus, WorkerPod

CREATION_FAILURE_REASONS = frozenset(
    {"FailedCreate", "JobCreationFailed", "HeadlessServiceCreationFailed"}
)
"""Events about pods that could not be created; no condition of the JobSet tells about them."""
MAX_CAUSE_LENGTH = 300
_EXIT_CODE_MESSAGE = re.compile(
    r"pod \S+?-(?P<rank>\d+)-\w+ failed with exit code (?P<code>\d+) matching"
)
_DISK_LIMIT = re.compile(r"ephemeral.storage|EmptyDir", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """The limits of a worker group that only its launcher enforces, and how much of them is used.

    running_seconds: time since the JobSet was admitted.
    starting_seconds: time since the present attempt began, while not all of its workers run.
    """

    workers: int
    max_restarts: int
    active_deadline: float
    pod_start_timeout: float
    step: str = "train"
    queue: str = ""
    restart_option: str = ""
    memory_remedy: str = ""
    independent: bool = False
    running_seconds: float = 0.0
    starting_seconds: float = 0.0


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter with a JobSet.

    rule: name of the rule that matched.
    remedy: what the user can do, naming the option.
    retryable: it may pass by waiting; the group is not failed.
    worker: the worker that the failure began with, if there is one.
    user_error: rank and exit code of a worker that rejected its input; `message` is its own.
    """

    rule: str
    message: str
    remedy: str = ""
    retryable: bool = False
    worker: WorkerPod | None = None
    user_error: tuple[int, int] | None = None


@dataclass(frozen=True)
class Observation:
    """Everything that rules may look at; `pods` are those of all attempts."""

    jobset: JobSetStatus
    pods: Sequence[WorkerPod]
    events: Sequence[ClusterEvent]
    limits: Limits

    @property
    def attempt(self) -> list[WorkerPod]:
        """The pods of the present attempt, by rank; of a JobSet that failed, of its last one."""
        return select_present(self.pods, self.jobset.restarts, self.limits.independent)

    @property
    def started_workers(self) -> int:
        """How many workers of the present attempt run or have ended."""
        return count_started_workers(self.attempt)

    @property
    def is_starting(self) -> bool:
        """Whether the JobSet is admitted and not all of its workers run yet."""
        return self.jobset.phase == "running" and self.started_workers < self.limits.workers


@dataclass(frozen=True)
class Match:
    """What a rule found. A remedy here replaces that of the rule."""

    message: str
    remedy: str = ""
    worker: WorkerPod | None = None
    user_error: tuple[int, int] | None = None


@dataclass(frozen=True)
class Rule:
    """One known state or failure; `find` returns None where it does not apply."""

    name: str
    find: Callable[[Observation], Match | None]
    remedy: str = ""
    retryable: bool = False


def diagnose(
    jobset: JobSetStatus,
    pods: Sequence[WorkerPod],
    events: Sequence[ClusterEvent],
    limits: Limits,
) -> Diagnosis:
    """Return what the first matching rule of RULES says about a JobSet that has not completed.

    `pods` are the pods of all attempts that were seen; `events` those of the JobSet and its Job.
    """
    observation = Observation(jobset, pods, events, limits)
    for rule in RULES:
        if match := rule.find(observation):
            return Diagnosis(
                rule=rule.name,
                message=match.message,
                remedy=match.remedy or rule.remedy,
                retryable=rule.retryable,
                worker=match.worker,
                user_error=match.user_error,
            )
    raise AssertionError("the last rule matches every JobSet")


def find_root_cause_worker(pods: Iterable[WorkerPod]) -> WorkerPod | None:
    """Return the worker that a failure began with, if one has failed.

    A reason that Kubernetes gives (OOMKilled, Evicted) counts more than an exit code, and any other
    code more than that of a worker which lost its peers. Among equals the first to end counts.
    """

    def sort_key(pod: WorkerPod) -> tuple[bool, bool, str, int]:
        lost_a_peer = pod.exit_code in (exit_codes.PEER_LOST, exit_codes.RENDEZVOUS_TIMEOUT)
        return not pod.has_specific_reason, lost_a_peer, pod.ended_at or "unknown", pod.rank

    return min((pod for pod in pods if pod.has_failed), key=sort_key, default=None)


def parse_exit_code_message(messages: Iterable[str]) -> tuple[int, int] | None:
    """Return rank and exit code from the Job controller's message about a pod that is gone."""
    for message in messages:
        if found := _EXIT_CODE_MESSAGE.search(message):
            return int(found["rank"]), int(found["code"])
    return None


def count_started_workers(present: Iterable[WorkerPod]) -> int:
    """Return how many of the workers that are the group now run or have ended."""
    return sum(pod.has_started for pod in present if not pod.is_deleting)


def select_present(pods: Iterable[WorkerPod], restarts: int, independent: bool) -> list[WorkerPod]:
    """Return the pods that are the group now, by rank; independent ones have no common attempt."""
    return select_newest(pods) if independent else select_attempt(pods, restarts)


def select_attempt(pods: Iterable[WorkerPod], attempt: int) -> list[WorkerPod]:
    """Return the pods of one attempt, by rank."""
    return sorted((pod for pod in pods if pod.attempt == attempt), key=lambda pod: pod.rank)


def _find_user_error(observation: Observation) -> Match | None:
    if observation.jobset.phase != "failed":
        return None
    for pod in observation.attempt:
        if pod.exit_code in exit_codes.PERMANENT:
            message = _locate(pod) if pod.exit_code == exit_codes.GPU_MISSING else pod.message
            return Match(message, worker=pod, user_error=(pod.rank, pod.exit_code))
    warnings = (str(event) for event in observation.events if event.is_warning)
    found = parse_exit_code_message(warnings)
    if found and found[1] in exit_codes.PERMANENT:
        return Match(exit_codes.describe_exit_code(found[1]), user_error=found)
    return None


def _find_launcher_lost(observation: Observation) -> Match | None:
    if observation.jobset.phase != "failed":
        return None
    codes = {pod.exit_code for pod in observation.attempt}
    warnings = (str(event) for event in observation.events if event.is_warning)
    found = parse_exit_code_message(warnings)
    if exit_codes.LAUNCHER_LOST not in codes | {found[1] if found else None}:
        return None
    return Match("the workers stopped because they saw no launcher for half a minute")


def _locate(pod: WorkerPod) -> str:
    """Return the worker's message with the node that it is about: others may be in order."""
    node = f" on node {pod.node}" if pod.node else ""
    message = pod.message or exit_codes.describe_exit_code(exit_codes.GPU_MISSING)
    return f"worker {pod.rank}{node}: {message}"


def _find_out_of_memory(observation: Observation) -> Match | None:
    other = observation.limits.memory_remedy
    for pod in _ended_pods(observation):
        if pod.reason == "OOMKilled":
            return Match(
                f"worker {pod.rank} {pod.describe_termination()}",
                remedy=f"raise cluster.memory, {other}" if other else "raise cluster.memory",
                worker=pod,
            )
    return None


def _find_over_disk_limit(observation: Observation) -> Match | None:
    for pod in _ended_pods(observation):
        is_over = _DISK_LIMIT.search(pod.message) and "exceed" in pod.message
        if pod.reason == "Evicted" and is_over:
            cause = f"worker {pod.rank} {pod.describe_termination()}: {pod.message}"
            return Match(cause, worker=pod)
    return None


def _ended_pods(observation: Observation) -> Sequence[WorkerPod]:
    """Return the pods of all attempts; of a JobSet that failed only those of the last one."""
    is_failed = observation.jobset.phase == "failed"
    return observation.attempt if is_failed else observation.pods


def _find_failed_worker(observation: Observation) -> Match | None:
    if observation.jobset.phase != "failed":
        return None
    restarts, limits = observation.jobset.restarts, observation.limits
    pod = find_root_cause_worker(observation.attempt)
    if limits.independent:
        pod = find_exhausted_worker(observation.attempt, limits.max_restarts) or pod
    if pod is None:
        return None
    restarts += pod.failures
    limit = format_restart_limit(limits.restart_option, limits.max_restarts)
    tried = f" after {restarts} restarts ({limit})" if restarts else ""
    node = f" on node {pod.node}" if pod.node else ""
    return Match(
        f"the {limits.step} step failed{tried}: "
        f"worker {pod.rank} ({pod.name}{node}) {pod.describe_termination()}",
        worker=pod,
    )


def _find_failed_jobset(observation: Observation) -> Match | None:
    jobset = observation.jobset
    if jobset.phase != "failed":
        return None
    return Match(f"the JobSet failed: {jobset.reason}: {jobset.message}")


def _find_queued(observation: Observation) -> Match | None:
    if observation.jobset.phase != "queued":
        return None
    queue, workers = observation.limits.queue, observation.limits.workers
    return Match(
        f"queued: {queue or 'the JobSet is suspended'} has no room for {workers} workers yet"
    )


def _find_deadline_exceeded(observation: Observation) -> Match | None:
    limits = observation.limits
    if limits.running_seconds <= limits.active_deadline:
        return None
    return Match(
        f"the workers still ran after cluster.active_deadline ({limits.active_deadline:.0f} s) "
        "and were stopped"
    )


def _find_start_timeout(observation: Observation) -> Match | None:
    limits = observation.limits
    if not observation.is_starting or limits.starting_seconds <= limits.pod_start_timeout:
        return None
    message = (
        f"{_count_started(observation)} within cluster.pod_start_timeout "
        f"({limits.pod_start_timeout:.0f} s)"
    )
    for failure in STARTUP_FAILURES:
        if cause := _find_startup_cause(observation, failure.pattern):
            return Match(f"{message}: {cause}", remedy=failure.remedy)
    return Match(message)


def _find_starting(observation: Observation) -> Match | None:
    if not observation.is_starting:
        return None
    return Match(f"{observation.started_workers} of {observation.limits.workers} workers run")


def _find_running(observation: Observation) -> Match | None:
    workers = observation.started_workers
    return Match(f"all {workers} workers run" if workers > 1 else "the worker runs")


def _startup_rules(*, retryable: bool) -> list[Rule]:
    """Return the rules about the known reasons why workers do not start."""
    chosen = [failure for failure in STARTUP_FAILURES if failure.retryable == retryable]
    return [
        Rule(
            failure.name, partial(_find_startup_failure, failure.pattern), failure.remedy, retryable
        )
        for failure in chosen
    ]


def _find_startup_failure(pattern: str, observation: Observation) -> Match | None:
    if cause := _find_startup_cause(observation, pattern):
        return Match(f"{_count_started(observation)}: {cause}")
    return None


def _find_startup_cause(observation: Observation, pattern: str) -> str:
    """Return the first event or waiting pod that matches, while not all workers run."""
    if not observation.is_starting:
        return ""
    for event in observation.events:
        if event.reason in CREATION_FAILURE_REASONS and re.search(pattern, str(event)):
            return str(event)[:MAX_CAUSE_LENGTH]
    for pod in observation.attempt:
        if not (pod.has_started or pod.is_deleting) and re.search(pattern, pod.waiting_reason):
            return f"worker {pod.rank} waits: {pod.waiting_reason}"[:MAX_CAUSE_LENGTH]
    return ""


def _count_started(observation: Observation) -> str:
    return f"only {observation.started_workers} of {observation.limits.workers} workers started"


RULES: tuple[Rule, ...] = (
    # A worker rejected its input and would do so again: its own error is the user's.
    Rule("user-error", _find_user_error),
    # The workers were well, but nobody followed them, or its heartbeat did not reach the store.
    Rule(
        "launcher-lost",
        _find_launcher_lost,
        "check that the launcher's pod reaches the store of the workers' state; "
        "a run with the same data and options continues from what they saved",
    ),
    # More memory or disk than a worker may have is not found by a restart, so do not wait for one.
    Rule("out-of-memory", _find_out_of_memory),
    Rule("over-disk-limit", _find_over_disk_limit, "raise cluster.ephemeral_storage"),
    # The failure policy has ended the JobSet: name the worker that the failure began with,
    Rule(
        "worker-failed",
        _find_failed_worker,
        "read the worker's last lines; "
        "a run with the same data and options continues from what the workers saved",
    ),
    # or, where none of its pods was seen to fail, what the JobSet controller says.
    Rule("jobset-failed", _find_failed_jobset),
    # Kueue, or a person, has not admitted the JobSet. No time limit runs meanwhile.
    Rule("queued", _find_queued, retryable=True),
    # The Job's own deadline starts anew with every restart, so the launcher enforces the total.
    Rule(
        "deadline-exceeded",
        _find_deadline_exceeded,
        "raise cluster.active_deadline; the next run continues from what the workers saved",
    ),
    # Workers cannot start, and waiting does not help.
    *_startup_rules(retryable=False),
    # Workers have not started in time, whatever the reason.
    Rule(
        "start-timeout",
        _find_start_timeout,
        "look at the events; if nothing is wrong and it is only slow, "
        "raise cluster.pod_start_timeout",
    ),
    # Workers cannot start, but may as the cluster changes.
    *_startup_rules(retryable=True),
    # Nothing is wrong.
    Rule("starting", _find_starting, retryable=True),
    Rule("running", _find_running, retryable=True),
)
"""In the order in which they are tried; the first that matches is the diagnosis."""
