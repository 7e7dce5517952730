"""Pods connect to each other under the policies of the kind overlay, enforced by the cluster.

KUBERT_TOOLS_IMAGE names an image with Python that the nodes have.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from components.progress import StepName
from components.workers.kubernetes.jobset_manifest import worker_labels
from tests.support import manifests
from tests.support.network_rules import Pod, connects

CLIENT = {"kubert.dev/serving-client": "true"}
SOURCES = {
    "worker": Pod(worker_labels(StepName.TRAIN)),
    "step": Pod({"pipeline/runid": "8a6b0c9e"}),
    "plain": Pod(),
    "stranger": Pod(namespace="elsewhere"),
    "pretender": Pod(worker_labels(StepName.TRAIN), namespace="elsewhere"),
    "unlabelled-namespace-client": Pod(CLIENT, namespace="elsewhere"),
}
TARGETS = {
    "worker-target": (Pod(worker_labels(StepName.TRAIN)), 2222),
    "server-target": (Pod({"app.kubernetes.io/component": "serving"}), 8501),
    "board-target": (Pod({"app.kubernetes.io/component": "tensorboard"}), 6006),
    "open-target": (Pod(namespace="elsewhere"), 8080),
}
API_SERVER = ("kubernetes.default.svc", 443)
DIAL = """
import json, os, socket
found = {}
for name, (host, port) in json.loads(os.environ["TARGETS"]).items():
    try:
        socket.create_connection((host, port), timeout=4).close()
        found[name] = True
    except OSError as error:
        found[name] = False
print(json.dumps(found))
"""


def kubectl(*arguments: str, given: object = None) -> str:
    text = None if given is None else json.dumps(given)
    done = subprocess.run(
        ["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def manifest(
    name: str, pod: Pod, namespace: str, command: list[str], targets: object = None
) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": os.environ["KUBERT_TOOLS_IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [{"name": "TARGETS", "value": json.dumps(targets)}],
        "resources": {"requests": {"cpu": "5m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(pod.labels)},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


@pytest.fixture(scope="module")
def connections(
    cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, bool]]]:
    """Which targets each source reached."""
    if not os.environ.get("KUBERT_TOOLS_IMAGE"):
        pytest.skip("KUBERT_TOOLS_IMAGE names no image for the pods that dial")
    name = f"kubert-network-{uuid.uuid4().hex[:6]}"
    namespaces = {"kubert": name, "elsewhere": f"{name}-elsewhere"}
    tree = manifests.rename_namespace(
        manifests.copy_tree(tmp_path_factory.mktemp("k8s") / "k8s"), name
    )
    try:
        kubectl(
            "apply", "-f", str(tree / "base/namespace.yaml"), "-f", str(tree / "base/network.yaml")
        )
        kubectl("create", "namespace", namespaces["elsewhere"])
        time.sleep(2)  # until both have their default account
        for target, (pod, port) in TARGETS.items():
            command = ["python", "-m", "http.server", str(port), "--directory", "/dev"]
            kubectl(
                "create", "-f", "-", given=manifest(target, pod, namespaces[pod.namespace], command)
            )
        addresses = {
            target: (address(target, namespaces[pod.namespace]), port)
            for target, (pod, port) in TARGETS.items()
        }
        time.sleep(3)  # until they listen, and policies reached the node
        asked = {**addresses, "api-server": API_SERVER, "metadata": ("169.254.169.254", 80)}
        for source, pod in SOURCES.items():
            kubectl(
                "create",
                "-f",
                "-",
                given=manifest(
                    source, pod, namespaces[pod.namespace], ["python", "-c", DIAL], asked
                ),
            )
        found = {
            source: answer(source, namespaces[pod.namespace]) for source, pod in SOURCES.items()
        }
        if found["plain"]["worker-target"] and found["stranger"]["server-target"]:
            pytest.skip("this cluster's network plugin does not enforce network policies")
        yield found
    finally:
        for namespace in namespaces.values():
            kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def address(name: str, namespace: str) -> str:
    kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
    return kubectl("-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.podIP}")


def answer(name: str, namespace: str) -> dict[str, bool]:
    kubectl(
        "-n",
        namespace,
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        f"pod/{name}",
        "--timeout=180s",
    )
    return dict(json.loads(kubectl("-n", namespace, "logs", name)))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_pods_reach_what_the_policies_allow_and_nothing_else(
    connections: dict[str, dict[str, bool]], source: str, target: str
) -> None:
    """Fault A7."""
    policies = [found for file, found in manifests.list_written() if file == "base/network.yaml"]
    pod, port = TARGETS[target]
    assert connections[source][target] is connects(policies, SOURCES[source], pod, port)


def test_steps_reach_the_api_server_by_its_name_and_other_pods_do_not(
    connections: dict[str, dict[str, bool]],
) -> None:
    assert connections["step"]["api-server"] and not connections["plain"]["api-server"]


@pytest.mark.parametrize("source", ["worker", "step", "plain"])
def test_the_metadata_server_is_out_of_reach(
    connections: dict[str, dict[str, bool]], source: str
) -> None:
    """Fault A7."""
    assert not connections[source]["metadata"]
