"""The probe of the stores from a pod: what it creates, what it says, and that it is removed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.config.cluster import ClusterConfig
from components.config.loading import validate_config
from components.storage import probe
from pipeline.doctor import store_probe

ROOT, MODELS = "minio://mlpipeline/kubert", "gs://models/x"
IMAGE = "images.example/tools@sha256:" + "a" * 64


class Pods:
    """Answers as an API server does to a pod that ends in `phase` with this log."""

    def __init__(self, phase: str, log: str = "", **status: Any) -> None:
        self.status, self.log = {"phase": phase, **status}, log
        self.created: dict[str, Any] = {}
        self.deleted: list[str] = []

    def get(self, path: str) -> Any:
        return {"status": self.status}

    def post(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> Any:
        self.created = body
        return {"metadata": {"name": "kubert-probe-1"}}

    def get_text(self, path: str) -> str:
        return self.log

    def delete(self, path: str) -> None:
        self.deleted.append(path)


def line(uri: str, problem: str = "", remedy: str = "") -> str:
    return json.dumps({"uri": uri, "problem": problem, "remedy": remedy})


@pytest.mark.parametrize(
    ("pods", "state", "message"),
    [
        pytest.param(
            Pods("Succeeded", f"{line(ROOT)}\n{line(MODELS)}\n"),
            "ok",
            f"from a pod: {ROOT}, {MODELS}",
            id="all-work",
        ),
        pytest.param(
            Pods("Failed", f"{line(ROOT)}\n{line(MODELS, 'access refused', 'give rights')}\n"),
            "missing",
            f"from a pod: {MODELS}: access refused",
            id="one-refuses",
        ),
        pytest.param(
            Pods("Failed", "No module named components.storage.probe\n"),
            "missing",
            "the pod ended before it had tried all stores: No module named components",
            id="an-older-image",
        ),
        pytest.param(
            Pods(
                "Pending",
                containerStatuses=[
                    {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
                ],
            ),
            "missing",
            "the pod did not end within 0 s: ErrImagePull not found",
            id="no-image",
        ),
        pytest.param(
            Pods("Pending", conditions=[{"status": "False", "message": "0/1 nodes"}]),
            "missing",
            "the pod did not end within 0 s: 0/1 nodes",
            id="no-node",
        ),
    ],
)
def test_the_finding_is_the_pods_and_the_pod_is_removed(
    pods: Pods, state: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_probe, "PROBE_TIMEOUT_SECONDS", 0)
    cluster = {"pipeline_root": ROOT, "tools_image": IMAGE, "storage_secret": "keys"}
    config = validate_config({"cluster": cluster, "export": {"model_store": MODELS}})
    finding = store_probe.check_stores_from_a_pod(pods, config, config.cluster, lambda _: None)
    assert finding.state == state
    assert finding.message.startswith(message)
    if "access refused" in message:
        assert finding.remedy == "give rights. The pod has the keys of the secret keys"
    assert pods.deleted == ["/api/v1/namespaces/kubert/pods/kubert-probe-1"]


def test_the_pod_is_like_a_steps_and_has_no_secret_in_it() -> None:
    cluster = ClusterConfig(
        tools_image=IMAGE, storage_secret="keys", environment={"STORAGE_EMULATOR_HOST": "store:1"}
    )
    pod = store_probe.render_probe_pod([ROOT], cluster)
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["serviceAccountName"] == cluster.service_account
    assert "pipeline/runid" in pod["metadata"]["labels"], "the network policies of steps select it"
    assert container["command"] == ["python", "-m", "components.storage.probe", ROOT]
    variables = {one["name"]: one for one in container["env"]}
    assert variables["STORAGE_EMULATOR_HOST"]["value"] == "store:1"
    assert variables["AWS_SECRET_ACCESS_KEY"]["valueFrom"] == {
        "secretKeyRef": {"name": "keys", "key": "secretkey"}
    }


def test_without_a_store_no_pod_is_created() -> None:
    pods = Pods("Succeeded")
    config = validate_config({})
    finding = store_probe.check_stores_from_a_pod(pods, config, config.cluster)
    assert (finding.state, pods.created) == ("ok", {})


def test_the_program_prints_a_line_per_store(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert probe.main([str(tmp_path), str(tmp_path / "file")]) == 1
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["problem"], bool(bad["problem"]), bool(bad["remedy"])) == ("", True, True)
    assert probe.main([str(tmp_path)]) == 0
