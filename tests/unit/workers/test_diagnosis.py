"""Readings of objects that a real cluster gave (Kubernetes 1.34, JobSet 0.12), recorded while the faults were done to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.workers.kubernetes import known_failures
from components.workers.kubernetes.diagnosis import WIDTH, first_failed, refused, screen
from components.workers.kubernetes.status import WorkerPod, format_event, parse_jobset, parse_pod

RECORDED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "kubernetes_objects.json").read_text()
)


def pod(name: str, **changes: Any) -> WorkerPod:
    return WorkerPod(**{**vars(parse_pod(RECORDED["pods"][name], "train")), **changes})


@pytest.mark.parametrize(
    ("name", "phase", "restarts", "counted", "reason"),
    [
        ("starting", "running", 0, 0, ""),
        ("queued", "queued", 0, 0, ""),
        ("restarting", "running", 1, 1, ""),
        ("restarted for free", "running", 1, 0, ""),
        ("completed", "completed", 0, 0, ""),
        ("refused", "failed", 0, 0, "FailJobSetFailurePolicyAction"),
        ("out of restarts", "failed", 1, 1, "ReachedMaxRestarts"),
    ],
)
def test_a_jobset_is_read(name: str, phase: str, restarts: int, counted: int, reason: str) -> None:
    found = parse_jobset(RECORDED["jobsets"][name])
    assert (found.phase, found.restarts, found.counted, found.reason) == (
        phase,
        restarts,
        counted,
        reason,
    )
    assert len(found.digest) == 64


@pytest.mark.parametrize(
    ("name", "started", "failed", "code", "ending"),
    [
        ("creating", False, False, None, None),
        ("running", True, False, None, None),
        ("succeeded", True, False, 0, None),
        ("refused", True, True, 65, "rejected its input (exit code 65)"),
        ("killed", True, True, 137, "was killed (SIGKILL)"),
        ("lost its peer", True, True, 70, "lost a peer"),
        ("out of memory", True, True, 137, "was killed for lack of memory (OOMKilled)"),
        ("evicted", True, True, 75, "stopped after saving its checkpoint (EvictionByEvictionAPI)"),
    ],
)
def test_a_worker_s_pod_is_read(
    name: str, started: bool, failed: bool, code: int | None, ending: str | None
) -> None:
    found = pod(name)
    assert (found.started, found.failed, found.exit_code) == (started, failed, code)
    assert found.name.startswith("kubert-train-")
    assert found.rank in (0, 1)
    if ending:
        assert found.ending() == ending


def test_the_worker_s_own_message_comes_with_its_pod() -> None:
    assert "SHA-256" in pod("refused").message


@pytest.mark.parametrize(
    ("name", "said", "advice", "hopeless"),
    [
        ("unschedulable", "Unschedulable: 0/1 nodes are available", "cluster.cpu", False),
        ("invalid image name", "InvalidImageName", "cluster.train_image", True),
        ("image never pulled", "ErrImageNeverPull", "cluster.image_pull_policy", True),
        ("image back-off", "ImagePullBackOff", "cluster.image_pull_secrets", False),
        ("no secret", 'secret "none-such" not found', "cluster.storage_secret", False),
    ],
)
def test_why_a_worker_does_not_start(name: str, said: str, advice: str, hopeless: bool) -> None:
    found = known_failures.of_starting([pod("running"), pod(name, rank=1)], [])
    assert found is not None
    assert found.what.startswith("worker 1 waits: ")
    assert said in found.what
    assert advice in found.advice
    assert found.hopeless == hopeless


@pytest.mark.parametrize(
    ("text", "advice", "hopeless"),
    [
        (format_event(RECORDED["events"]["no priority class"]), "cluster.priority_class", True),
        (format_event(RECORDED["events"]["no account"]), "cluster.worker_service_account", True),
        (
            'FailedCreate: pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged',
            "pod security",
            True,
        ),
        (
            'FailedCreate: admission webhook "policy.example" denied the request: no',
            "policy of the cluster",
            True,
        ),
        (
            'FailedCreate: pods "x" is forbidden: exceeded quota: kubert, requested: pods=1',
            "quota",
            False,
        ),
        ('FailedMount: persistentvolumeclaim "x" not found', "cluster.checkpoint_pvc", False),
    ],
)
def test_why_pods_are_not_created(text: str, advice: str, hopeless: bool) -> None:
    found = known_failures.of_starting([], [text])
    assert found is not None
    assert advice in found.advice
    assert found.hopeless == hopeless


def test_what_will_not_pass_comes_before_what_may() -> None:
    found = known_failures.of_starting(
        [pod("unschedulable")], ["FailedCreate: no PriorityClass with name x was found"]
    )
    assert found is not None
    assert found.hopeless


@pytest.mark.parametrize("name", ["running", "creating"])
def test_nothing_is_wrong_with_what_only_takes_its_time(name: str) -> None:
    assert known_failures.of_starting([pod(name)], []) is None


def test_w10_what_would_only_happen_again() -> None:
    found = known_failures.of_ending(
        [pod("killed"), pod("out of memory")], "lower train.batch_size"
    )
    assert found is not None
    assert "cluster.memory" in found.advice
    full = pod(
        "killed",
        reason="Evicted",
        message='Usage of EmptyDir volume "work" exceeds the limit "1Gi".',
    )
    found = known_failures.of_ending([full], "lower train.batch_size")
    assert found is not None
    assert found.advice == "raise cluster.ephemeral_storage"
    assert (
        known_failures.of_ending(
            [pod("killed"), pod("lost its peer"), pod("evicted")], "lower train.batch_size"
        )
        is None
    )


def test_the_failure_s_origin_is_the_worker_that_ended_first_not_its_peers() -> None:
    killed, lost = (
        pod("killed", rank=1, ended_at="2026-11-24T15:00:05Z"),
        pod("lost its peer", rank=0, ended_at="2026-11-24T15:00:04Z"),
    )
    assert first_failed([lost, killed]) == killed
    peer, evicted = pod("evicted", rank=0, reason="Error"), pod("evicted", rank=1)
    assert first_failed([peer, evicted]) == evicted
    first, last = (
        pod("refused", rank=rank, ended_at=f"2026-11-24T15:00:0{9 - rank}Z") for rank in (1, 0)
    )
    assert first_failed([last, first]) == first
    assert first_failed([pod("running")]) is None


def test_a_refusal_is_found_in_the_controller_s_words_when_the_pod_is_gone() -> None:
    rank, code = refused(["Pulled: image", format_event(RECORDED["events"]["exit code"])]) or (
        None,
        None,
    )
    assert (rank, code) == (1, 65)
    assert refused(["BackoffLimitExceeded: Job has reached the specified backoff limit"]) is None


def test_everything_stands_on_one_screen() -> None:
    text = screen(
        "failed",
        advice="do " * 200,
        last_lines=[f"line {n}" for n in range(90)],
        whose="worker 1",
        events=["event"] * 50,
        more="x",
    )
    lines = text.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= WIDTH
    assert "  line 89" in lines
    assert "  line 0" not in lines
