"""A run's logs and its steps' events, read from real pods labelled as Kubeflow Pipelines does."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator

import pytest
from kubernetes import client, config

from components.progress import ProgressEvent, StepName
from pipeline.kubeflow.run_logs import PodLogsUnavailableError, RunPods
from tests.support.progress_events import make_event

NAMESPACE = "default"
EVENTS = [
    {"time": 1.0, "step": "tokenize", "kind": "started"},
    {
        "time": 2.0,
        "step": "tokenize",
        "kind": "finished",
        "seconds": 1.0,
        "figures": {"train_rows": 3},
    },
]


@pytest.fixture
def run() -> Iterator[str]:
    """The id of a run with two pods: one of a step, which ends, and a driver without output."""
    image = os.environ.get("KUBERT_TOOLS_IMAGE") or pytest.skip(
        "KUBERT_TOOLS_IMAGE is not set: an image with Python, by digest"
    )
    config.load_kube_config()
    api, identifier = client.CoreV1Api(), secrets.token_hex(8)
    names = [f"kubert-logs-{identifier}-{part}" for part in ("step", "driver")]
    step = "\n".join(["I0101 launcher.go:1] starting", *map(json.dumps, EVENTS)])
    for name, text in zip(names, (step, "I0101 driver.go:1] resolving"), strict=True):
        container = {
            "name": "main",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-c", f"print({text!r})"],
        }
        metadata = {"name": name, "labels": {"pipeline/runid": identifier}}
        api.create_namespaced_pod(
            NAMESPACE,
            {"metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [container]}},
        )
    yield identifier
    for name in names:
        api.delete_namespaced_pod(name, NAMESPACE, grace_period_seconds=0)


def test_events_are_reported_once_and_logs_are_chosen_by_step(run: str) -> None:
    pods = RunPods.connect(run, NAMESPACE)
    received: list[ProgressEvent] = []
    deadline = time.monotonic() + 120
    while len(received) < len(EVENTS) and time.monotonic() < deadline:
        received += pods.read_new_events(StepName.TOKENIZE)
        time.sleep(0.5)
    assert received == [make_event(**event) for event in EVENTS]
    assert pods.read_new_events(StepName.TOKENIZE) == []
    (log,) = RunPods.connect(run, NAMESPACE).read_logs("tokenize")
    assert log.pod.endswith("-step")
    assert log.lines[0] == "I0101 launcher.go:1] starting"
    assert sum(1 for _ in RunPods.connect(run, NAMESPACE).read_logs()) == 2
    assert list(RunPods.connect(run, NAMESPACE).read_logs("train")) == []


def test_a_namespace_that_may_not_be_read_is_reported(run: str) -> None:
    account = client.CustomObjectsApi().api_client
    pods = RunPods.connect(run, NAMESPACE)
    pods._api = client.CoreV1Api(account)
    pods._api.api_client = client.ApiClient(_nobody(account.configuration))
    with pytest.raises(PodLogsUnavailableError, match="refuses to list pods in namespace default"):
        pods.read_new_events(StepName.TOKENIZE)


def _nobody(known: client.Configuration) -> client.Configuration:
    """The same server, asked by somebody it does not know."""
    found = client.Configuration(host=known.host)
    found.ssl_ca_cert, found.api_key = known.ssl_ca_cert, {"authorization": "Bearer nobody"}
    return found
