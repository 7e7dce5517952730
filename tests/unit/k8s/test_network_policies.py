"""A7: who may connect to whom, by the policies as they are written."""

from __future__ import annotations

import pytest

from components.progress import StepName
from components.workers.kubernetes.jobset_manifest import worker_labels
from pipeline import pod_settings
from tests.support import manifests
from tests.support.network_rules import Pod, connects

NAMED = {
    m["metadata"]["name"]: (file, m)
    for file, m in manifests.list_written()
    if m["kind"] == "NetworkPolicy"
}
BASE = [policy for file, policy in NAMED.values() if file.startswith("base/")]
WORKER = Pod(worker_labels(StepName.TRAIN))
SCORERS = {
    step: Pod(worker_labels(step)) for step in (StepName.SCORE, StepName.EVALUATE, StepName.GATE)
}
SCORER = SCORERS[StepName.SCORE]
STEP = Pod({"pipeline/runid": "8a6b0c9e"})
SERVER = Pod({"app.kubernetes.io/component": "serving"})
BOARD = Pod({"app.kubernetes.io/component": "tensorboard"})
PLAIN = Pod()
CLIENT = Pod({"kubert.dev/serving-client": "true"})
STRANGER = Pod(namespace="elsewhere")
PRETENDER = Pod(worker_labels(StepName.TRAIN), namespace="elsewhere")
SELF_MADE_CLIENT = Pod(CLIENT.labels, namespace="elsewhere")
TRUSTED_CLIENT = Pod(
    CLIENT.labels, namespace="shop", namespace_labels={"kubert.dev/serving-client": "true"}
)
PIPELINES = Pod(namespace="kubeflow")
DNS = Pod({"k8s-app": "kube-dns"}, namespace="kube-system")
STORE, METADATA = "142.250.1.1", "169.254.169.254"

ALLOWED = [
    pytest.param(WORKER, WORKER, 2222, id="workers-to-each-other"),
    pytest.param(WORKER, STORE, 443, id="worker-to-storage"),
    *[pytest.param(pod, STORE, 443, id=f"{step}-to-storage") for step, pod in SCORERS.items()],
    pytest.param(STEP, STORE, 443, id="step-to-storage"),
    pytest.param(STEP, "203.0.113.7", 6443, id="step-to-api-server"),
    pytest.param(STEP, PIPELINES, 8887, id="step-to-pipelines"),
    pytest.param(CLIENT, SERVER, 8501, id="client-to-server-rest"),
    pytest.param(TRUSTED_CLIENT, SERVER, 8500, id="client-of-a-labelled-namespace-to-server-grpc"),
    pytest.param(SERVER, STORE, 443, id="server-to-storage"),
    pytest.param(BOARD, STORE, 443, id="tensorboard-to-storage"),
    *[
        pytest.param(pod, DNS, 53, id=f"{name}-to-dns")
        for name, pod in [("worker", WORKER), ("step", STEP), ("server", SERVER), ("any", PLAIN)]
    ],
]
REFUSED = [
    pytest.param(STRANGER, WORKER, 2222, id="another-namespace-to-worker"),
    pytest.param(PRETENDER, WORKER, 2222, id="another-namespace-with-a-worker-s-labels-to-worker"),
    pytest.param(PLAIN, WORKER, 2222, id="any-pod-to-worker"),
    pytest.param(STEP, WORKER, 2222, id="step-to-worker"),
    pytest.param(WORKER, WORKER, 22, id="workers-on-another-port"),
    pytest.param(WORKER, METADATA, 80, id="worker-to-metadata"),
    pytest.param(WORKER, METADATA, 443, id="worker-to-metadata-by-tls"),
    pytest.param(SCORER, SCORER, 2222, id="independent-workers-to-each-other"),
    pytest.param(WORKER, SCORER, 2222, id="worker-to-independent-worker"),
    pytest.param(SCORER, METADATA, 80, id="independent-worker-to-metadata"),
    pytest.param(STEP, METADATA, 80, id="step-to-metadata"),
    pytest.param(WORKER, STORE, 80, id="worker-to-the-web-unencrypted"),
    pytest.param(WORKER, PIPELINES, 8888, id="worker-to-pipelines"),
    pytest.param(PLAIN, STORE, 443, id="any-pod-out"),
    pytest.param(PLAIN, SERVER, 8501, id="pod-without-the-label-to-server"),
    pytest.param(STRANGER, SERVER, 8501, id="another-namespace-to-server"),
    pytest.param(
        SELF_MADE_CLIENT, SERVER, 8501, id="label-in-a-namespace-that-has-it-not-to-server"
    ),
    pytest.param(WORKER, SERVER, 8501, id="worker-to-server"),
    pytest.param(CLIENT, BOARD, 6006, id="client-to-tensorboard"),
    pytest.param(STRANGER, BOARD, 6006, id="another-namespace-to-tensorboard"),
    pytest.param(STRANGER, STEP, 8080, id="another-namespace-to-step"),
]


def reaches(
    source: Pod, target: Pod | str, port: int, policies: list[manifests.Object] = BASE
) -> bool:
    # A client's own way out is its own business where it lives here: give it one.
    out = {
        "metadata": {"namespace": "kubert"},
        "spec": {
            "podSelector": {"matchLabels": CLIENT.labels},
            "policyTypes": ["Egress"],
            "egress": [{}],
        },
    }
    return connects([*policies, out], source, target, port, "UDP" if port == 53 else "TCP")


@pytest.mark.parametrize(("source", "target", "port"), ALLOWED)
def test_what_is_needed_connects(source: Pod, target: Pod | str, port: int) -> None:
    assert reaches(source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), REFUSED)
def test_nothing_else_connects(source: Pod, target: Pod | str, port: int) -> None:
    """Fault A7."""
    assert not reaches(source, target, port)


def test_everything_is_denied_both_ways_by_default() -> None:
    spec = NAMED["default-deny"][1]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_gangs_with_gpus_reach_each_other_on_any_port_but_nobody_else_does() -> None:
    policies = [*BASE, NAMED["workers-nccl"][1]]
    assert reaches(WORKER, WORKER, 40_123, policies)
    assert not reaches(PLAIN, WORKER, 40_123, policies)
    assert not reaches(PRETENDER, WORKER, 40_123, policies)
    for overlay in ("gke", "eks"):
        assert "../../train/nccl" in manifests.kustomization(f"overlays/{overlay}")["components"]


def test_on_gke_pods_reach_workload_identity_s_server_and_no_other_link_local_address() -> None:
    policies = [*BASE, NAMED["workload-identity"][1]]
    assert reaches(WORKER, "169.254.169.252", 988, policies) and reaches(
        WORKER, METADATA, 80, policies
    )
    assert not reaches(WORKER, "169.254.1.1", 80, policies)


STOCK_STORE_POLICY = {
    "metadata": {"namespace": "kubeflow"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "seaweedfs"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 8333}]}],
    },
}
"""What Kubeflow Pipelines itself has: its own namespace, and those of profiles."""
SEAWEEDFS = Pod({"app": "seaweedfs"}, namespace="kubeflow")


def test_kubeflow_s_store_is_reached_where_it_is_switched_on() -> None:
    stock = [*BASE, STOCK_STORE_POLICY]
    added = [NAMED["kubeflow-storage"][1], NAMED["kubert-storage-clients"][1]]
    for pod in (WORKER, STEP):
        assert not reaches(pod, SEAWEEDFS, 8333, stock)
        assert not reaches(pod, SEAWEEDFS, 8333, [*stock, added[0]]), "its own policy refuses"
        assert reaches(pod, SEAWEEDFS, 8333, [*stock, *added])
    assert not reaches(STRANGER, SEAWEEDFS, 8333, [*stock, *added])
    assert reaches(PIPELINES, SEAWEEDFS, 8333, [*BASE, *added]), "Kubeflow is never shut out"


def test_the_steps_are_selected_by_the_label_of_their_run() -> None:
    assert pod_settings._RUN[1] == f"metadata.labels['{next(iter(STEP.labels))}']"
