"""The rules of `diagnose`, over objects that a real cluster returned while faults were injected."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import pytest

from components.workers.kubernetes.diagnosis import (
    RULES,
    Diagnosis,
    Limits,
    diagnose,
    find_root_cause_worker,
    parse_exit_code_message,
)
from components.workers.kubernetes.status import ClusterEvent, JobSetStatus, WorkerPod
from tests.support.kubernetes_objects import recorded_event, recorded_jobset, recorded_pod

LIMITS = Limits(
    workers=2,
    max_restarts=1,
    active_deadline=3600,
    pod_start_timeout=120,
    queue="gpus",
    restart_option="train.max_restarts",
    memory_remedy="lower train.batch_size",
    running_seconds=30,
    starting_seconds=30,
)
LATE = Limits(**{**vars(LIMITS), "starting_seconds": 121})
OVERTIME = Limits(**{**vars(LIMITS), "running_seconds": 3601})
STARTING = recorded_jobset("starting")
CHIEF = recorded_pod("running", rank=0)
GPU_EXIT_MESSAGE = recorded_event("exit code").message.replace("exit code 65", "exit code 72")
LAUNCHER_EXIT_MESSAGE = recorded_event("exit code").message.replace("exit code 65", "exit code 76")
FULL_DISK = recorded_pod(
    "killed",
    attempt=0,
    reason="Evicted",
    message='Usage of EmptyDir volume "work" exceeds the limit "1Gi".',
)


@dataclass(frozen=True)
class Case:
    """What a monitor observes, and what the diagnosis must be; `remedy` is a part of it."""

    rule: str
    message: str
    remedy: str = ""
    retryable: bool = False
    jobset: JobSetStatus = STARTING
    pods: tuple[WorkerPod, ...] = ()
    events: tuple[ClusterEvent, ...] = ()
    limits: Limits = field(default=LIMITS)

    def diagnose(self) -> Diagnosis:
        return diagnose(self.jobset, self.pods, self.events, self.limits)


def waiting(name: str) -> tuple[WorkerPod, ...]:
    return (CHIEF, recorded_pod(name, rank=1))


def not_created(message: str, reason: str = "FailedCreate") -> tuple[ClusterEvent, ...]:
    return (ClusterEvent(reason, message),)


CASES = {
    "a worker rejected its input": Case(
        "user-error",
        r".*SHA-256",
        jobset=recorded_jobset("refused"),
        pods=(recorded_pod("refused"),),
    ),
    "a worker rejected its input and its pod is gone": Case(
        "user-error",
        r"rejected its input \(exit code 65\)",
        jobset=recorded_jobset("refused"),
        events=(recorded_event("exit code"),),
    ),
    "a worker sees fewer GPUs than it needs": Case(
        "user-error",
        r"worker \d on node .+: a worker needs 1 GPU",
        jobset=recorded_jobset("refused"),
        pods=(recorded_pod("refused", exit_code=72, message="a worker needs 1 GPU"),),
    ),
    "a worker saw fewer GPUs than it needs and its pod is gone": Case(
        "user-error",
        r"saw fewer GPUs than it needs \(exit code 72\)",
        jobset=recorded_jobset("refused"),
        events=(replace(recorded_event("exit code"), message=GPU_EXIT_MESSAGE),),
    ),
    "no launcher was there": Case(
        "launcher-lost",
        "the workers stopped because they saw no launcher for half a minute",
        "reaches the store",
        jobset=recorded_jobset("refused"),
        pods=(recorded_pod("lost its peer"), recorded_pod("refused", exit_code=76)),
    ),
    "no launcher was there and the pods are gone": Case(
        "launcher-lost",
        "the workers stopped because they saw no launcher for half a minute",
        jobset=recorded_jobset("refused"),
        events=(replace(recorded_event("exit code"), message=LAUNCHER_EXIT_MESSAGE),),
    ),
    "out of memory, seen while the JobSet restarts its workers": Case(
        "out-of-memory",
        r"worker \d was killed for lack of memory \(OOMKilled\)",
        "raise cluster.memory, lower train.batch_size",
        jobset=recorded_jobset("restarting"),
        pods=(recorded_pod("killed"), recorded_pod("out of memory")),
    ),
    "out of memory in the last attempt": Case(
        "out-of-memory",
        r"worker \d was killed for lack of memory",
        "raise cluster.memory",
        jobset=recorded_jobset("out of restarts", restarts=0),
        pods=(recorded_pod("out of memory", attempt=0),),
    ),
    "over the disk limit": Case(
        "over-disk-limit",
        r"worker \d was killed \(SIGKILL\) \(Evicted\): Usage of EmptyDir",
        "raise cluster.ephemeral_storage",
        pods=(FULL_DISK,),
    ),
    "restarts are exhausted": Case(
        "worker-failed",
        r"the train step failed after 1 restarts \(train\.max_restarts=1\): worker 1 \(.* on node "
        r".*\) was killed \(SIGKILL\)",
        "continues from what the workers saved",
        jobset=recorded_jobset("out of restarts"),
        pods=(
            recorded_pod("killed", rank=1, attempt=1),
            recorded_pod("lost its peer", rank=0, attempt=1),
        ),
    ),
    "the JobSet failed and no pod was seen": Case(
        "jobset-failed",
        r"the JobSet failed: ReachedMaxRestarts: .*max number of restarts",
        jobset=recorded_jobset("out of restarts"),
    ),
    "queued": Case(
        "queued",
        r"queued: gpus has no room for 2 workers yet",
        retryable=True,
        jobset=recorded_jobset("queued"),
        limits=LATE,
    ),
    "suspended without a queue": Case(
        "queued",
        r"queued: the JobSet is suspended has no room",
        retryable=True,
        jobset=recorded_jobset("queued"),
        limits=Limits(**{**vars(LIMITS), "queue": ""}),
    ),
    "over the total time": Case(
        "deadline-exceeded",
        r"the workers still ran after cluster\.active_deadline \(3600 s\)",
        "raise cluster.active_deadline",
        pods=(CHIEF, recorded_pod("running", rank=1, uid="other")),
        limits=OVERTIME,
    ),
    "invalid image name": Case(
        "invalid-image-name",
        r"only 1 of 2 workers started: worker 1 waits: InvalidImageName",
        "cluster.train_image",
        pods=waiting("invalid image name"),
    ),
    "image never pulled": Case(
        "image-never-pulled",
        r"only 1 of 2 workers started: worker 1 waits: ErrImageNeverPull",
        "cluster.image_pull_policy",
        pods=waiting("image never pulled"),
    ),
    "image back-off": Case(
        "image-pull",
        r"only 1 of 2 workers started: worker 1 waits: ImagePullBackOff",
        "cluster.image_pull_secrets",
        retryable=True,
        pods=waiting("image back-off"),
    ),
    "no secret": Case(
        "no-secret",
        r'.*worker 1 waits: .*secret "none-such" not found',
        "cluster.storage_secret",
        retryable=True,
        pods=waiting("no secret"),
    ),
    "the image does not start": Case(
        "container-start",
        r".*worker 1 waits: RunContainerError: no python",
        "is it kubert's train image",
        retryable=True,
        pods=(
            CHIEF,
            recorded_pod("creating", rank=1, waiting_reason="RunContainerError: no python"),
        ),
    ),
    "no node fits": Case(
        "unschedulable",
        r".*worker 1 waits: Unschedulable: 0/1 nodes are available",
        "cluster.cpu",
        retryable=True,
        pods=waiting("unschedulable"),
    ),
    "no priority class": Case(
        "no-priority-class",
        r"only 0 of 2 workers started: FailedCreate: .*no PriorityClass with name none-such",
        "cluster.priority_class",
        events=(recorded_event("no priority class"),),
    ),
    "a negative priority": Case(
        "negative-priority",
        r'only 0 of 2 workers started: FailedCreate: .*metadata\.labels: Invalid value: "-10"',
        "cluster.priority_class",
        events=(recorded_event("negative priority"),),
    ),
    "a pod that Kubernetes rejects": Case(
        "invalid-pod",
        r".*is invalid: spec\.containers",
        "the option whose value",
        events=not_created('Error creating: Pod "x" is invalid: spec.containers[0].name: Invalid'),
    ),
    "no service account": Case(
        "no-service-account",
        r".*error looking up service account kubert/none-such",
        "cluster.worker_service_account",
        events=(recorded_event("no account"),),
    ),
    "pod security": Case(
        "pod-security",
        r".*violates PodSecurity",
        "pod security level",
        events=not_created(
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged'
        ),
    ),
    "denied by a policy": Case(
        "admission-webhook",
        r".*denied the request",
        "policy of the cluster",
        events=not_created('admission webhook "policy.example" denied the request: no'),
    ),
    "over the quota": Case(
        "quota",
        r".*exceeded quota",
        "quota",
        retryable=True,
        events=not_created('pods "x" is forbidden: exceeded quota: kubert, requested: pods=1'),
    ),
    "no volume claim": Case(
        "volume",
        r'.*persistentvolumeclaim "x" not found',
        "cluster.checkpoint_pvc",
        retryable=True,
        events=not_created('persistentvolumeclaim "x" not found', "JobCreationFailed"),
    ),
    "what does not pass comes before what may": Case(
        "no-priority-class",
        r".*no PriorityClass",
        "cluster.priority_class",
        pods=waiting("unschedulable"),
        events=(recorded_event("no priority class"),),
    ),
    "not started in time for a known reason": Case(
        "start-timeout",
        r"only 1 of 2 workers started within cluster\.pod_start_timeout \(120 s\): "
        r"worker 1 waits: Unsch",
        "no node fits",
        pods=waiting("unschedulable"),
        limits=LATE,
    ),
    "not started in time for an unknown reason": Case(
        "start-timeout",
        r"only 1 of 2 workers started within cluster\.pod_start_timeout \(120 s\)$",
        "look at the events",
        pods=waiting("creating"),
        limits=LATE,
    ),
    "starting": Case("starting", r"1 of 2 workers run$", retryable=True, pods=waiting("creating")),
    "restarting: pods of the last attempt do not count": Case(
        "starting",
        r"0 of 2 workers run$",
        retryable=True,
        jobset=recorded_jobset("restarting"),
        pods=(recorded_pod("killed", attempt=0), recorded_pod("lost its peer", attempt=0)),
    ),
    "all run, whatever events there were before": Case(
        "running",
        r"all 2 workers run$",
        retryable=True,
        pods=(CHIEF, recorded_pod("running", rank=1, uid="other")),
        events=(recorded_event("no priority class"),),
        limits=LATE,
    ),
    "the only worker runs": Case(
        "running",
        r"the worker runs$",
        retryable=True,
        pods=(CHIEF,),
        limits=Limits(**{**vars(LIMITS), "workers": 1}),
    ),
    "a killed worker, its peer and an evicted one are restarted": Case(
        "starting",
        r"0 of 2 workers run$",
        retryable=True,
        jobset=recorded_jobset("restarting"),
        pods=tuple(
            recorded_pod(name, attempt=0) for name in ("killed", "lost its peer", "evicted")
        ),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_recorded_failure_has_its_diagnosis(case: Case) -> None:
    """Faults W1, W2, W3, W6, W7 and W10: as the launcher diagnoses them."""
    found = case.diagnose()
    assert (found.rule, found.retryable) == (case.rule, case.retryable)
    assert re.match(case.message, found.message), found.message
    assert case.remedy in found.remedy


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES.values()} == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_a_user_error_names_rank_and_exit_code() -> None:
    pod = recorded_pod("refused")
    seen = CASES["a worker rejected its input"].diagnose()
    gone = CASES["a worker rejected its input and its pod is gone"].diagnose()
    assert seen.user_error == (pod.rank, 65)
    assert gone.user_error == (1, 65)


def test_the_root_cause_is_the_worker_that_ended_first_and_not_its_peers() -> None:
    killed = recorded_pod("killed", rank=1, ended_at="2026-11-24T15:00:05Z")
    peer = recorded_pod("lost its peer", rank=0, ended_at="2026-11-24T15:00:04Z")
    assert find_root_cause_worker([peer, killed]) == killed
    vague, evicted = (
        recorded_pod("evicted", rank=0, reason="Error"),
        recorded_pod("evicted", rank=1),
    )
    assert find_root_cause_worker([vague, evicted]) == evicted
    first, last = (
        recorded_pod("refused", rank=rank, ended_at=f"2026-11-24T15:00:0{9 - rank}Z")
        for rank in (1, 0)
    )
    assert find_root_cause_worker([last, first]) == first
    assert find_root_cause_worker([recorded_pod("running")]) is None


def test_the_exit_code_of_a_pod_that_is_gone_is_in_the_job_controller_s_message() -> None:
    messages = ["Pulled: image", str(recorded_event("exit code"))]
    assert parse_exit_code_message(messages) == (1, 65)
    other = ["BackoffLimitExceeded: Job has reached the specified backoff limit"]
    assert parse_exit_code_message(other) is None
