"""Why a gang does not start, or will not end better: recognized in Kubernetes' own words, with the option to change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from components.workers.kubernetes.status import WorkerPod


class Trouble(NamedTuple):
    """`advice` says what to do; a `hopeless` one does not pass by waiting or trying again."""

    what: str
    advice: str
    hopeless: bool


class _Rule(NamedTuple):
    pattern: str
    advice: str
    hopeless: bool = False


# The first that matches counts. Sources: reasons of the kubelet's image manager and containers, messages of the scheduler and of admission.
_STARTING = (
    _Rule(r"^InvalidImageName", "cluster.train_image is not an image's name", True),
    _Rule(r"^ErrImageNeverPull", "the image is not on the node: load it there, or set cluster.image_pull_policy to IfNotPresent", True),
    _Rule(r"^(ErrImagePull|ImagePullBackOff)", "check cluster.train_image and cluster.image_pull_secrets, and that nodes reach the registry"),
    _Rule(r"^CreateContainerConfigError.*secret", "create the secret that cluster.storage_secret names, with the keys of cluster.storage_secret_keys"),
    _Rule(r"^(CreateContainer|RunContainer|Container).*Error", "cluster.train_image does not start; is it kubert's train image?"),
    _Rule(r"violates PodSecurity", "the namespace's pod security level refuses the pods; compare its labels with k8s/base", True),
    _Rule(r"admission webhook .* denied", "a policy of the cluster refuses the pods; ask its administrator, or change what it names", True),
    _Rule(r"error looking up service account|serviceaccount .* not found", "create the account (kubectl apply -k k8s/overlays/...), or set cluster.worker_service_account", True),
    _Rule(r"no PriorityClass with name", "create the priority class, or set cluster.priority_class", True),
    _Rule(r"exceeded quota|must specify", "raise the namespace's quota, or lower cluster.cpu, cluster.memory, cluster.gpus or train.workers"),
    _Rule(r"persistentvolumeclaim .* not found|FailedMount|unbound", "check the volume claim that cluster.checkpoint_pvc names"),
    _Rule(r"Insufficient|untolerated taint|node affinity|node selector|Unschedulable|nodes are available", "no node fits: lower cluster.cpu, cluster.memory or cluster.gpus, check cluster.node_selector and cluster.tolerations, or add nodes"),
)  # fmt: skip
_OVER_DISK = re.compile(r"ephemeral.storage|EmptyDir", re.IGNORECASE)


def of_starting(pods: Iterable[WorkerPod], creation_events: Iterable[str]) -> Trouble | None:
    """What keeps workers from starting; a hopeless trouble before any other, None if nothing is known."""
    said = [
        f"worker {pod.rank} waits: {pod.waiting}" for pod in pods if not pod.started and pod.waiting
    ]
    found = [trouble for text in (*creation_events, *said) if (trouble := _recognized(text))]
    return min(found, key=lambda trouble: not trouble.hopeless, default=None)


def of_ending(pods: Iterable[WorkerPod], memory_remedy: str) -> Trouble | None:
    """What the gang would only run into again: it needs more memory or disk than a worker may have."""
    for pod in pods:
        who = f"worker {pod.rank} {pod.ending()}"
        if pod.reason == "OOMKilled":
            return Trouble(who, f"raise cluster.memory, {memory_remedy}", True)
        if pod.reason == "Evicted" and _OVER_DISK.search(pod.message) and "exceed" in pod.message:
            return Trouble(f"{who}: {pod.message}", "raise cluster.ephemeral_storage", True)
    return None


def _recognized(text: str) -> Trouble | None:
    said = text.partition(" waits: ")[2] or text
    for rule in _STARTING:
        if re.search(rule.pattern, said):
            return Trouble(text, rule.advice, rule.hopeless)
    return None
