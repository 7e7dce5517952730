"""Workers as JobSets on a real cluster, with shards and state in a real object store."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import checkpoint, transfer
from tests.support.training import cluster_training, local_training, training_shards

pytestmark = [pytest.mark.timeout(900)]
STEPS = 4 * 24


@pytest.fixture(scope="module")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket's part with sealed shards below `shards`."""
    uri = cluster_training.new_store_uri()
    made = training_shards.make(
        tmp_path_factory.mktemp("data") / "shards", rows={"train": 192, "validation": 20}
    )
    transfer.upload_artifact(made, f"{uri}/shards")
    return uri


@pytest.fixture(scope="module")
def local(store_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training by two processes of this machine."""
    home = tmp_path_factory.mktemp("local")
    with local_training.launch(
        home,
        f"{store_uri}/shards",
        local_training.options(**cluster_training.SMALL),
        scratch=f"{store_uri}/local",
    ) as it:
        ended = it.wait()
    assert ended.code == 0, ended.output
    return home


def assert_as_local(home: Path, local: Path) -> None:
    found, wanted = (
        checkpoint.open_checkpoint(directory / "checkpoint").content for directory in (home, local)
    )
    assert len(found.step_losses) == STEPS
    print(
        "largest difference of a step's loss:",
        np.abs(np.subtract(found.step_losses, wanted.step_losses)).max(),
    )
    np.testing.assert_allclose(found.step_losses, wanted.step_losses, rtol=1e-6, atol=1e-6)
    expected = local_training.weights(local / "checkpoint")
    for name, value in local_training.weights(home / "checkpoint").items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)


def test_two_pods_learn_what_two_processes_learn_and_once_is_enough(
    store_uri: str, local: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    messages = cluster_training.train(tmp_path, f"{store_uri}/shards", f"{store_uri}/state", {})
    print(f"from the command to the checkpoint: {time.monotonic() - started:.1f} s")
    assert_as_local(tmp_path, local)

    assert [text for text in messages if text.startswith("epoch 4 of 4: loss")]
    assert "all 2 workers run" in messages
    assert list((tmp_path / "checkpoint" / "tensorboard").glob("events.*"))
    started = time.monotonic()
    with cluster_training.launch(
        tmp_path / "again", f"{store_uri}/shards", f"{store_uri}/state", {}
    ) as it:
        ended = it.wait()
        assert ended.code == 0, ended.output
        assert [event["unchanged"] for event in it.events() if "unchanged" in event] == [True]
        assert not cluster_training.jobsets(it.run)
    print(f"again: {time.monotonic() - started:.1f} s")


def test_a_worker_group_in_a_queue_waits_without_a_deadline_and_then_runs(
    store_uri: str, local: Path, tmp_path: Path
) -> None:
    # Without Kueue nobody lifts the suspension: the test does, as Kueue would.
    options = {"cluster__queue": "gpus", "cluster__pod_start_timeout": 60, "train__seed": 1}
    with cluster_training.launch(
        tmp_path, f"{store_uri}/shards", f"{store_uri}/queued", options
    ) as it:
        name = it.jobset()["metadata"]["name"]
        local_training.wait_for(
            lambda: [text for text in it.messages() if text.startswith("queued: gpus")],
            "the news of the queue",
        )
        assert it.jobset()["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
        assert not cluster_training.pods(name)
        cluster_training.kubectl(
            "patch", "jobset", name, "--type=merge", "--patch", '{"spec": {"suspend": false}}'
        )
        ended = it.wait()
    assert ended.code == 0, ended.output
    assert_as_local(tmp_path, local)


def test_ctrl_c_deletes_the_jobset_whose_workers_save_and_the_next_run_goes_on(
    store_uri: str, tmp_path: Path
) -> None:
    options = {"train__epochs": 60}
    with cluster_training.launch(
        tmp_path, f"{store_uri}/shards", f"{store_uri}/stopped", options
    ) as it:
        it.wait_for_progress(60)
        name = it.jobset()["metadata"]["name"]
        it.process.terminate()
        ended = it.wait()
        assert ended.code == 75, ended.output
        assert "the next run continues from what was saved" in ended.output
        started = time.monotonic()
        local_training.wait_for(lambda: not cluster_training.pods(name), "the end of the pods")
        print(f"pods gone after {time.monotonic() - started:.1f} s")
        reached = max(event.get("done") or 0 for event in it.events() if event.get("total"))
    with cluster_training.launch(
        tmp_path, f"{store_uri}/shards", f"{store_uri}/stopped", options
    ) as it:
        ended = it.wait()
        assert ended.code == 0, ended.output
        (resumed,) = [
            int(text.split()[4]) for text in it.messages() if text.startswith("going on from step")
        ]
    assert resumed >= reached  # no step was lost


def launcher_pod(name: str, store_uri: str, run: str, options: dict[str, Any]) -> dict[str, Any]:
    """The launcher as the pipeline starts it: with its account and the downward API."""

    def field(variable: str, path: str) -> dict[str, Any]:
        return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    arguments = [
        "--shards",
        f"{store_uri}/shards",
        "--output",
        "/tmp/checkpoint",
        "--scratch",
        f"{store_uri}/pod",
        *local_training.options(**options),
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/name": "kubert",
                "app.kubernetes.io/component": "launcher",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "kubert-pipeline",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "launcher",
                    "image": os.environ.get("KUBERT_TOOLS_IMAGE")
                    or os.environ["KUBERT_TRAIN_IMAGE"],
                    "command": ["python", "-m", "components.train", *arguments],
                    "env": [
                        field("KUBERT_POD_NAME", "metadata.name"),
                        field("KUBERT_POD_UID", "metadata.uid"),
                        field("KUBERT_NAMESPACE", "metadata.namespace"),
                        {"name": "KUBERT_RUN", "value": run},
                        {"name": "HOME", "value": "/tmp"},
                        {
                            "name": "STORAGE_EMULATOR_HOST",
                            "value": os.environ.get("STORAGE_EMULATOR_HOST", ""),
                        },
                    ],
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "256Mi"},
                        "limits": {"memory": "256Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def log_of(pod: str) -> list[str]:
    return cluster_training.kubectl("logs", pod, check=False).splitlines()


def steps_in(log: list[str]) -> int:
    events = [json.loads(line) for line in log if line.startswith("{")]
    return max((int(event["done"]) for event in events if event.get("total")), default=0)


def test_a_deleted_launcher_deletes_its_jobset_and_the_next_one_continues(
    store_uri: str,
) -> None:
    """Fault W2."""
    run = f"e2e-{uuid.uuid4().hex[:8]}"
    pods = [f"launcher-{run}-{attempt}" for attempt in (1, 2)]
    options = cluster_training.SMALL | cluster_training.CLUSTER | {"train__epochs": 60}
    try:
        cluster_training.kubectl(
            "create",
            "--filename",
            "-",
            text=json.dumps(launcher_pod(pods[0], store_uri, run, options)),
        )
        local_training.wait_for(lambda: steps_in(log_of(pods[0])) >= 60, "step 60")
        reached = steps_in(log_of(pods[0]))
        (jobset,) = cluster_training.jobsets(run)
        started = time.monotonic()
        # Killed at once: it cannot delete the JobSet itself.
        cluster_training.kubectl("delete", "pod", pods[0], "--grace-period=0", "--force")
        local_training.wait_for(
            lambda: not cluster_training.pods(jobset["metadata"]["name"]),
            "the end of the worker group",
        )
        print(f"JobSet and pods gone {time.monotonic() - started:.1f} s after the launcher")
        cluster_training.kubectl(
            "create",
            "--filename",
            "-",
            text=json.dumps(launcher_pod(pods[1], store_uri, run, options)),
        )
        started = time.monotonic()

        def phase() -> str:
            (found,) = cluster_training.list_objects(
                "pods", "--field-selector", f"metadata.name={pods[1]}"
            )
            return (
                str(found["status"]["phase"])
                if found["status"]["phase"] in ("Succeeded", "Failed")
                else ""
            )

        assert local_training.wait_for(phase, "the second launcher's end") == "Succeeded", log_of(
            pods[1]
        )[-20:]
        print(f"the second launcher took {time.monotonic() - started:.1f} s")
        messages = [
            json.loads(line).get("message", "") for line in log_of(pods[1]) if line.startswith("{")
        ]
        (resumed,) = [
            int(text.split()[4]) for text in messages if text.startswith("going on from step")
        ]
        assert resumed >= reached
    finally:
        for pod in pods:
            cluster_training.kubectl("delete", "pod", pod, "--ignore-not-found", "--wait=false")


def test_a_launcher_finds_the_jobset_that_an_earlier_one_left(
    store_uri: str, local: Path, tmp_path: Path
) -> None:
    run = f"e2e-{uuid.uuid4().hex[:8]}"
    options: dict[str, Any] = {"cluster__ttl_after_finished": 600}
    with cluster_training.launch(
        tmp_path / "first", f"{store_uri}/shards", f"{store_uri}/found", options, run=run
    ) as it:
        uid = it.jobset()["metadata"]["uid"]
        it.process.kill()  # it has no pod, so nothing deletes the JobSet
        it.process.wait()
        with cluster_training.launch(
            tmp_path, f"{store_uri}/shards", f"{store_uri}/found", options, run=run
        ) as second:
            ended = second.wait()
            assert ended.code == 0, ended.output
            assert [
                text
                for text in second.messages()
                if text.startswith("attached to the running JobSet ")
            ]
            assert [found["metadata"]["uid"] for found in cluster_training.jobsets(run)] == [uid]
    assert_as_local(tmp_path, local)


def test_workers_of_a_killed_launcher_are_gone_within_a_minute_and_the_next_run_continues(
    store_uri: str, tmp_path: Path
) -> None:
    """Fault W13."""
    scratch, options = f"{store_uri}/{uuid.uuid4().hex[:8]}", {"train__epochs": 60}
    with cluster_training.launch(tmp_path / "first", f"{store_uri}/shards", scratch, options) as it:
        name = it.jobset()["metadata"]["name"]
        it.wait_for_progress(60)
        it.process.kill()  # it has no pod, so nothing deletes the JobSet
        killed = time.monotonic()

        def have_ended() -> bool:
            phases = {pod["status"].get("phase") for pod in cluster_training.pods(name)}
            return phases <= {"Succeeded", "Failed"}

        local_training.wait_for(have_ended, "the workers' end")
        seconds = time.monotonic() - killed
        print(f"the last worker ended {seconds:.1f} s after the launcher")
        assert seconds < 60

        def is_failed() -> bool:
            (jobset,) = cluster_training.jobsets(it.run)
            return bool(jobset["status"].get("terminalState") == "Failed")

        local_training.wait_for(is_failed, "the JobSet's end: nothing starts them again")
        with cluster_training.launch(
            tmp_path / "second", f"{store_uri}/shards", scratch, options
        ) as second:
            ended = second.wait()
            assert ended.code == 0, ended.output
            (resumed,) = [
                int(text.split()[4])
                for text in second.messages()
                if text.startswith("going on from step")
            ]
            assert resumed >= 60


def test_a_second_run_of_a_training_adopts_its_workers(store_uri: str, tmp_path: Path) -> None:
    scratch, options = f"{store_uri}/{uuid.uuid4().hex[:8]}", {"train__epochs": 20}
    shards = f"{store_uri}/shards"
    with cluster_training.launch(tmp_path / "first", shards, scratch, options) as first:
        first.wait_for_progress(30)
        with cluster_training.launch(tmp_path / "second", shards, scratch, options) as second:
            local_training.wait_for(
                lambda: [text for text in second.messages() if text.startswith("attached")],
                "the second launcher",
            )
            time.sleep(6)  # until each has seen the other's heartbeat
            first.process.terminate()
            assert first.wait().code == 75
            ended = second.wait()
            assert ended.code == 0, ended.output
            assert not [text for text in second.messages() if "was deleted" in text]
            assert cluster_training.jobsets(second.run) == []
