"""From text to a prediction on a real cluster: each step in its own pod, the workers as a JobSet.

The pods are like those that Kubeflow Pipelines starts, with the same image, account, labels and
addresses; they run `python -m components.<module>`. Then the release is pulled, served and queried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import checkpoint as checkpoints
from components.artifacts.staging import staged_input
from tests.support.stores.object_stores import free_port
from tests.support.training import local_training
from tests.support.training.cluster_training import NAMESPACE, kubectl, new_store_uri

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]
MODEL: dict[str, Any] = {
    "model__encoder": "scratch",
    "model__max_length": 64,
    "model__vocab_size": 3000,
    "model__hidden_size": 32,
    "model__intermediate_size": 32,
}
TRAIN: dict[str, Any] = {
    "train__workers": 2,
    "train__epochs": 4,
    "train__learning_rate": 0.002,
    "train__batch_size": 32,
    "train__checkpoint_every_steps": 20,
}
SMALL: dict[str, Any] = {
    "cluster__backend": "jobset",
    "cluster__namespace": NAMESPACE,
    "cluster__cpu": "200m",
    "cluster__memory": "1500Mi",
    "cluster__ephemeral_storage": "1Gi",
    "cluster__shared_memory": "64Mi",
    "cluster__pod_start_timeout": 240,
}


def pod(name: str, image: str, command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """A step's pod under the pipeline's account, as the restricted profile wants it."""
    fields = {
        "KUBERT_POD_NAME": "metadata.name",
        "KUBERT_POD_UID": "metadata.uid",
        "KUBERT_NAMESPACE": "metadata.namespace",
    }
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [
            *(
                {"name": key, "value": value}
                for key, value in {"HOME": "/tmp", "KUBERT_RUN": "e2e", **environment}.items()
            ),
            *(
                {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}}
                for key, path in fields.items()
            ),
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"pipeline/runid": "e2e"}},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "kubert-pipeline",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


class Steps:
    """Runs steps in pods, one after the other."""

    def __init__(self, root_uri: str) -> None:
        self.root_uri = root_uri
        self.seconds: list[tuple[str, float]] = []

    def run(
        self, module: str, image: str, uris: dict[str, str], options: dict[str, Any]
    ) -> list[str]:
        """The step's output, a line each; its pod is gone afterwards."""
        name = f"e2e-{module.replace('_', '-').replace('.', '-')}"
        given = [part for key, value in uris.items() for part in (f"--{key}", value)]
        command = [
            "python",
            "-m",
            f"components.{module}",
            *given,
            *local_training.options(**options),
        ]
        kubectl("delete", "pod", name, "--ignore-not-found", "--wait=true")
        started = time.monotonic()
        manifest = pod(
            name,
            image,
            command,
            {"STORAGE_EMULATOR_HOST": os.environ.get("STORAGE_EMULATOR_HOST", "")},
        )
        kubectl("create", "--filename", "-", text=json.dumps(manifest))
        try:
            phase = local_training.wait_for(
                lambda: phase_if_ended(name), f"the end of {module}", 900
            )
            output = kubectl("logs", name)
            assert phase == "Succeeded", output + kubectl("describe", "pod", name)
        finally:
            kubectl("delete", "pod", name, "--wait=false")
        self.seconds.append((module, round(time.monotonic() - started, 1)))
        return output.splitlines()


def phase_if_ended(name: str) -> str:
    phase = kubectl("get", "pod", name, "--output", "jsonpath={.status.phase}")
    return phase if phase in ("Succeeded", "Failed") else ""


@pytest.fixture(scope="module")
def images() -> tuple[str, str]:
    found = os.environ.get("KUBERT_TRAIN_IMAGE"), os.environ.get("KUBERT_TOOLS_IMAGE")
    if not all(found):
        pytest.skip("KUBERT_TRAIN_IMAGE and KUBERT_TOOLS_IMAGE are not set: the images, by digest")
    return str(found[0]), str(found[1])


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps(new_store_uri())


@pytest.fixture(scope="module")
def shards(steps: Steps, images: tuple[str, str]) -> str:
    uri = f"{steps.root_uri}/shards"
    steps.run("tokenize_text", images[0], {"output": uri}, MODEL)
    return uri


@pytest.fixture(scope="module")
def checkpoint(steps: Steps, images: tuple[str, str], shards: str) -> str:
    uri = f"{steps.root_uri}/checkpoint"
    cluster = {
        **SMALL,
        "cluster__train_image": images[0],
        "cluster__environment": {
            "STORAGE_EMULATOR_HOST": os.environ.get("STORAGE_EMULATOR_HOST", "")
        },
    }
    uris = {"shards": shards, "output": uri, "scratch": f"{steps.root_uri}/state"}
    steps.run("train", images[1], uris, MODEL | TRAIN | cluster)
    return uri


@pytest.fixture(scope="module")
def release(steps: Steps, images: tuple[str, str], shards: str, checkpoint: str) -> str:
    report, decision, store = (
        f"{steps.root_uri}/{name}" for name in ("report", "decision.json", "models")
    )
    target = {"export__model_store": store, "evaluate__min_accuracy": 0.3}
    steps.run(
        "evaluate",
        images[0],
        {"shards": shards, "checkpoint": checkpoint, "output": report},
        target,
    )
    steps.run("gate", images[0], {"shards": shards, "report": report, "output": decision}, target)
    output = steps.run(
        "export",
        images[0],
        {"shards": shards, "checkpoint": checkpoint, "report": report, "decision": decision},
        target,
    )
    return output[-1]


def test_two_pods_learn_what_two_processes_learn(
    shards: str, checkpoint: str, tmp_path: Path
) -> None:
    with (
        staged_input(shards, "token_shards") as local,
        staged_input(checkpoint, "checkpoint") as made,
    ):
        here = local_training.train(tmp_path, local, local_training.options(**MODEL | TRAIN))
        there = checkpoints.open_checkpoint(made).content
        assert there.workers == here.workers == 2
        assert len(there.step_losses) == len(here.step_losses) == there.steps
        difference = max(
            abs(a - b) for a, b in zip(there.step_losses, here.step_losses, strict=True)
        )
        print(f"largest difference of a step's loss: {difference:.2e} over {there.steps} steps")
        assert difference < 1e-5


def test_the_same_rows_are_not_learned_twice(
    steps: Steps, images: tuple[str, str], shards: str, checkpoint: str, release: str
) -> None:
    """A scheduled run whose data has not changed trains and releases nothing, and reports it."""
    again = f"{steps.root_uri}/again"
    uris = {"shards": shards, "output": f"{again}/checkpoint", "scratch": f"{steps.root_uri}/state"}
    output = steps.run(
        "train", images[1], uris, MODEL | TRAIN | SMALL | {"cluster__train_image": images[0]}
    )
    assert any("nothing is trained again" in line for line in output)
    report, decision, store = (
        f"{again}/report",
        f"{again}/decision.json",
        f"{steps.root_uri}/models",
    )
    target = {"export__model_store": store, "evaluate__min_accuracy": 0.3}
    steps.run(
        "evaluate",
        images[0],
        {"shards": shards, "checkpoint": uris["output"], "output": report},
        target,
    )
    steps.run("gate", images[0], {"shards": shards, "report": report, "output": decision}, target)
    output = steps.run(
        "export",
        images[0],
        {"shards": shards, "checkpoint": uris["output"], "report": report, "decision": decision},
        target,
    )
    assert output[-1] == release
    assert any("already released" in line for line in output)


def test_the_release_is_pulled_served_and_asked(release: str, tmp_path: Path) -> None:
    store_and_name, _, version = release.rpartition("/")
    kubert = [sys.executable, "-m", "pipeline.cli"]
    pulled = tmp_path / "models"
    subprocess.run(
        [*kubert, "pull", f"{store_and_name}@{version}", "--to", str(pulled)],
        check=True,
        timeout=300,
    )
    assert (pulled / version / "saved_model.pb").is_file()
    with serving(pulled) as address:
        request = urllib.request.Request(
            f"{address}/v1/models/news:predict",
            data=json.dumps(
                {"instances": ["The striker scored twice and the club won the cup"]}
            ).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            (answer,) = json.load(reply)["predictions"]
    print(answer)
    assert answer["label"] in ("Business", "Sci/Tech", "Sports", "World")
    assert sum(answer["scores"]) == pytest.approx(1, abs=1e-4)


@pytest.fixture(scope="module", autouse=True)
def times(steps: Steps) -> Iterator[None]:
    yield
    print("seconds in pods:", steps.seconds)


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """The address of `kubert serve` on a directory."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "serve",
        str(directory),
        "--name",
        "news",
        "--port",
        str(port),
    ]
    with subprocess.Popen(command) as process:
        try:
            local_training.wait_for(lambda: answers(f"{address}/v1/models/news"), "the server", 120)
            yield address
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
