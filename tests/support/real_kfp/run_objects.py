"""What kubectl shows of a run: its JobSets, the pods of its steps; and how a launcher is killed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from components.progress import ProgressEvent
from pipeline.kubeflow.run_logs import RUN_LABEL, parse_progress_events
from tests.support.real_kfp.polling import wait_for

RUN_ANNOTATION = "kubert.dev/run"
STEP_MODULE = "kfp.dsl.executor_main"
KILL_MODULE = """
import os, pathlib, signal, sys
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if (process / "cmdline").read_bytes().split(b"\\0")[1:3] == [b"-m", sys.argv[1].encode()]:
        os.kill(int(process.name), signal.SIGKILL)
        print("killed", process.name)
"""
"""Kills a module's process in its container, as the kernel does when memory runs out."""


@dataclass(frozen=True)
class RunObjects:
    """The objects of one run in its namespace."""

    run_id: str
    namespace: str

    def kubectl(self, *arguments: str, check: bool = True, text: str = "") -> str:
        """What kubectl prints; it reads `text`."""
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def list_objects(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Objects of a kind."""
        found = json.loads(self.kubectl("get", kind, "--output", "json", *arguments))
        return list(found["items"])

    def list_jobsets(self) -> list[dict[str, Any]]:
        """The JobSets that the run's launcher has made."""
        return [
            found
            for found in self.list_objects("jobsets")
            if found["metadata"].get("annotations", {}).get(RUN_ANNOTATION) == self.run_id
        ]

    def list_workers(self, jobset: str) -> list[str]:
        """The pods of a JobSet that have not ended, whether or not the JobSet still exists."""
        return [
            pod["metadata"]["name"]
            for pod in self.list_worker_pods(jobset)
            if pod["status"]["phase"] in ("Pending", "Running")
        ]

    def list_worker_pods(self, jobset: str) -> list[dict[str, Any]]:
        """All pods of a JobSet."""
        return self.list_objects("pods", "--selector", f"jobset.sigs.k8s.io/jobset-name={jobset}")

    def list_workflow_pods(self) -> list[dict[str, Any]]:
        """The nodes of the run's workflow that are pods: drivers and steps."""
        (workflow,) = self.list_objects("workflows", "--selector", f"{RUN_LABEL}={self.run_id}")
        return [node for node in workflow["status"]["nodes"].values() if node["type"] == "Pod"]

    def list_archived_nodes(self) -> list[str]:
        """The ids of the nodes that have a log in the archive."""
        return [
            node["id"]
            for node in self.list_workflow_pods()
            if any(
                artifact["name"] == "main-logs"
                for artifact in node.get("outputs", {}).get("artifacts", ())
            )
        ]

    def read_events(self) -> dict[str, list[ProgressEvent]]:
        """The progress events in the logs of the run's pods, by pod."""
        events = {}
        for pod in self.list_objects("pods", "--selector", f"{RUN_LABEL}={self.run_id}"):
            name = pod["metadata"]["name"]
            log = self.kubectl("logs", name, "--container", "main", check=False)
            if found := parse_progress_events(log.splitlines()):
                events[name] = found
        return events

    def count_starts(self, step: str) -> int:
        """How often a step has been started, in the pods that still exist."""
        return sum(
            (event.step, event.kind) == (step, "started")
            for events in self.read_events().values()
            for event in events
        )

    def wait_for_training(self, step: int) -> str:
        """The launcher's pod, once it has reported this training step."""

        def find_pod() -> str:
            for pod, events in self.read_events().items():
                if any(
                    event.step == "train" and event.total and (event.done or 0) >= step
                    for event in events
                ):
                    return pod
            return ""

        return str(wait_for(find_pod, f"step {step} of run {self.run_id}", 300))

    def kill_step(self, pod: str) -> None:
        """Kill the step's process (SIGKILL); its supervisor starts another one."""
        self.kill_module(pod, "main", STEP_MODULE)

    def kill_module(self, pod: str, container: str, module: str) -> None:
        """Kill the process that runs a Python module (SIGKILL)."""
        code = ("python", "-c", KILL_MODULE, module)
        output = self.kubectl("exec", pod, "--container", container, "--", *code)
        assert output.startswith("killed"), output

    def evict(self, pod: str) -> None:
        """Ask the cluster to evict a pod, as draining its node does."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "--filename", "-", text=json.dumps(body))
