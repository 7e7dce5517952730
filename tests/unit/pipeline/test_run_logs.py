"""Which logs of a run's pods belong to a step."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from kubernetes.client import ApiException

from components.progress import ProgressEvent, StepName
from pipeline.kubeflow.run_logs import NODE_NAME_ANNOTATION, RunPods

FATAL = "F1129 16:20:11.093741      23 main.go:59] failed to execute component: exit status 1"
CAUSE = 'two tasks have the same task name "gate_247", id1=258 id2=259'
CHAIN = f"F1129 19:22:51.938920 14 main.go:127] KFP driver: driver.DAG({'x' * 500}) failed: {CAUSE}"
EVENT = ProgressEvent(StepName.TRAIN, "reading shards").to_json()
SCORE_EVENT = ProgressEvent(StepName.SCORE, "scoring").to_json()
LOGS = {
    "train-reports": ("kubert-x7k2p.root.train", [EVENT]),
    "train-died-at-import": ("kubert-x7k2p.root.train(0)", ["ModuleNotFoundError: ...", FATAL]),
    "train-driver": ("kubert-x7k2p.root.train-driver", ["I1129 16:20:10 driver"]),
    "train-driver-died": ("kubert-x7k2p.root.train-driver", ["no such secret", FATAL]),
    "evaluate-died": ("kubert-x7k2p.root.evaluate", [FATAL]),
    "evaluate-started": ("kubert-x7k2p.root.evaluate", []),
    "fold-reports": ("kubert-x7k2p.root.score-fold-2", [SCORE_EVENT]),
    "fold-driver-died": ("kubert-x7k2p.root.score-fold-3-driver", [FATAL]),
    "graph-driver-died": ("kubert-x7k2p(0).root(0).condition-1-driver(0)", [CHAIN]),
}


@dataclass
class _Reply:
    data: bytes


@dataclass
class _PodsApi:
    """The two calls of Kubernetes' API that are used, with the pods of `LOGS`."""

    asked: list[str] = field(default_factory=list)

    def list_namespaced_pod(self, namespace: str, **options: Any) -> _Reply:
        self.asked.append(options["label_selector"])
        items = [
            {
                "metadata": {"name": name, "annotations": {NODE_NAME_ANNOTATION: node}},
                "status": {"phase": "Failed"},
            }
            for name, (node, _) in LOGS.items()
        ]
        return _Reply(json.dumps({"items": items}).encode())

    def read_namespaced_pod_log(self, pod: str, namespace: str, **options: Any) -> _Reply:
        return _Reply("".join(f"{line}\n" for line in LOGS[pod][1]).encode())


@pytest.mark.parametrize(
    ("step", "pods"),
    [
        ("train", ["train-reports", "train-died-at-import", "train-driver-died"]),
        ("evaluate", ["evaluate-died"]),
        ("export", []),
        ("score", ["fold-reports", "fold-driver-died"]),
        ("score-fold-2", ["fold-reports"]),
        ("score-fold-3", ["fold-driver-died"]),
        (None, [name for name in LOGS if LOGS[name][1]]),
    ],
)
def test_a_step_has_the_logs_that_report_on_it_and_those_that_failed_in_it(
    step: str | None, pods: list[str]
) -> None:
    api = _PodsApi()
    assert [log.pod for log in RunPods("r1", "team", api).read_logs(step)] == pods
    assert api.asked == ["pipeline/runid=r1"]


def test_the_last_lines_of_failed_launchers_and_drivers_are_known_with_their_cause() -> None:
    pods = RunPods("r1", "team", _PodsApi())
    events = [(event.message, event.fold) for event in pods.read_new_events(StepName.TOKENIZE)]
    assert sorted(events) == [("reading shards", None), ("scoring", 2)]
    error = "failed to execute component: exit status 1"
    assert pods.fatal_lines == {"train": error, "evaluate": error, "score-fold-3": error}
    assert pods.graph_failure.startswith("root.condition-1-driver: KFP driver: driver.DAG(xxx")
    assert pods.graph_failure.endswith(f"xxx) failed: {CAUSE}")
    assert len(pods.graph_failure) < 350


@dataclass
class _WaitingApi:
    """Kubernetes' API with these pods, which have no logs yet."""

    pods: list[dict[str, Any]]

    def list_namespaced_pod(self, namespace: str, **options: Any) -> _Reply:
        return _Reply(json.dumps({"items": self.pods}).encode())

    def list_namespaced_event(self, namespace: str, **options: Any) -> _Reply:
        return _Reply(b'{"items": []}')

    def read_namespaced_pod_log(self, pod: str, namespace: str, **options: Any) -> _Reply:
        return _Reply(b"")


def test_a_pod_before_all_steps_is_noted_at_the_first_step_of_the_run() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod = {
        "metadata": {
            "name": "graph-driver",
            "annotations": {NODE_NAME_ANNOTATION: "kubert-score-x7k2p.root-driver"},
            "creationTimestamp": "2026-11-01T00:00:00Z",
        },
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"name": "main", "state": {"waiting": waiting}}],
        },
    }
    pods = RunPods("r1", "team", _WaitingApi([pod]))
    (event,) = pods.read_new_events(StepName.RESOLVE)
    assert (event.step, event.kind) == ("resolve", "note")
    assert event.message.startswith("pod graph-driver has not started: ")


@dataclass
class _WorkflowsApi:
    """Kubernetes' API with these workflows; None: they may not be listed."""

    workflows: list[dict[str, Any]] | None

    def list_namespaced_custom_object(self, *kind: str, **options: Any) -> dict[str, Any]:
        assert kind == ("argoproj.io", "v1alpha1", "team", "workflows")
        assert options["label_selector"] == "pipeline/runid=r1"
        if self.workflows is None:
            raise ApiException(status=403)
        return {"items": self.workflows}


@pytest.mark.parametrize(
    ("pods", "workflows", "is_deleted"),
    [([], [], True), ([], [{}], False), ([], None, False), ([{"metadata": {}}], [], False)],
)
def test_a_run_is_deleted_if_neither_pods_nor_its_workflow_are_left(
    pods: list[dict[str, Any]], workflows: list[dict[str, Any]] | None, is_deleted: bool
) -> None:
    found = RunPods("r1", "team", _WaitingApi(pods), _WorkflowsApi(workflows))
    assert not found.is_deleted()
    with suppress(KeyError):
        found.read_new_events(StepName.TOKENIZE)
    assert found.is_deleted() == is_deleted
