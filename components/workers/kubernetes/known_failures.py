"""Known reasons why workers do not start, found in Kubernetes messages, each with a remedy."""

from __future__ import annotations

from typing import NamedTuple


class KnownFailure(NamedTuple):
    """One reason: `pattern` is searched in events about creation and in why pods wait.

    remedy: what the user can do, naming the option.
    retryable: it may pass by waiting; it fails the worker group only when the start times out.
    """

    name: str
    pattern: str
    remedy: str
    retryable: bool = False


# The patterns are reasons of the kubelet's image manager and containers, and messages of the
# scheduler and of admission.
STARTUP_FAILURES = (
    KnownFailure(
        "invalid-image-name",
        r"^InvalidImageName",
        "cluster.train_image is not the name of an image",
    ),
    KnownFailure(
        "image-never-pulled",
        r"^ErrImageNeverPull",
        "the image is not on the node: load it there, "
        "or set cluster.image_pull_policy to IfNotPresent",
    ),
    KnownFailure(
        "pod-security",
        r"violates PodSecurity",
        "the namespace's pod security level rejects the pods; compare its labels with k8s/base",
    ),
    KnownFailure(
        "admission-webhook",
        r"admission webhook .* denied",
        "a policy of the cluster rejects the pods; ask its administrator, or change what it names",
    ),
    KnownFailure(
        "no-service-account",
        r"error looking up service account|serviceaccount .* not found",
        "create the account (kubectl apply -k k8s/overlays/...), "
        "or set cluster.worker_service_account",
    ),
    KnownFailure(
        "no-priority-class",
        r"no PriorityClass with name",
        "create the priority class, or set cluster.priority_class",
    ),
    # JobSet 0.11 and 0.12 copy the priority to a label, which cannot begin with a minus sign
    # (kubernetes-sigs/jobset#1280).
    KnownFailure(
        "negative-priority",
        r'metadata\.labels: Invalid value: "-\d+"',
        "the installed JobSet cannot create pods with a negative priority: "
        "set cluster.priority_class to a class whose value is 0 or more",
    ),
    KnownFailure(
        "invalid-pod",
        r"Pod .* is invalid",
        "Kubernetes rejects the pods; change the option whose value the message quotes",
    ),
    # These may pass as the cluster changes.
    KnownFailure(
        "image-pull",
        r"^(ErrImagePull|ImagePullBackOff)",
        "check cluster.train_image and cluster.image_pull_secrets, "
        "and that the nodes reach the registry",
        retryable=True,
    ),
    KnownFailure(
        "no-secret",
        r"^CreateContainerConfigError.*secret",
        "create the secret that cluster.storage_secret names, "
        "with the keys of cluster.storage_secret_keys",
        retryable=True,
    ),
    KnownFailure(
        "container-start",
        r"^(CreateContainer|RunContainer|Container).*Error",
        "cluster.train_image does not start; is it kubert's train image?",
        retryable=True,
    ),
    KnownFailure(
        "quota",
        r"exceeded quota|must specify",
        "raise the quota of the namespace, "
        "or lower cluster.cpu, cluster.memory, cluster.gpus or the number of workers",
        retryable=True,
    ),
    KnownFailure(
        "volume",
        r"persistentvolumeclaim .* not found|FailedMount|unbound",
        "check the volume claim that cluster.checkpoint_pvc names",
        retryable=True,
    ),
    KnownFailure(
        "unschedulable",
        r"Insufficient|untolerated taint|node affinity|node selector|Unschedulable"
        r"|nodes are available",
        "no node fits: lower cluster.cpu, cluster.memory or cluster.gpus, check "
        "cluster.node_selector and cluster.tolerations, or add nodes",
        retryable=True,
    ),
)
