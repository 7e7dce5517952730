from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.schema import ModelConfig, TrainConfig
from components.errors import ConfigError
from components.progress import StepName
from components.train.job import Job
from components.train.step import build_worker_group
from components.workers import exit_codes
from components.workers.group import WorkerGroup
from components.workers.kubernetes.jobset_manifest import (
    LauncherPod,
    job_document_name,
    jobset_name,
    parse_cpu_quantity,
    render_jobset,
)
from components.workers.kubernetes.restart_policy import FAILURE_MESSAGE_PATTERNS
from components.workers.topology import topology_from_environment

GOLDEN = Path(__file__).with_name("golden_jobset.yaml")
IMAGE = "registry.example/kubert-train@sha256:" + "0" * 64
LAUNCHER = LauncherPod(
    namespace="kubert", name="train-x", uid="b1946ac9-2f4e-4d2a-8b6c-5c1a5a5a0001", run="run-7"
)
TRAINING = Job(
    model=ModelConfig(encoder="scratch"),
    train=TrainConfig(workers=4),
    shards="gs://data/shards",
    state="gs://data/state/0123456789abcdef",
)
DOCUMENT = f"{TRAINING.state}/jobs/x.json"

GROUP = build_worker_group(TRAINING)
EVERYTHING = ClusterConfig(
    train_image=IMAGE,
    image_pull_policy="Always",
    image_pull_secrets=("registry",),
    worker_service_account="worker",
    checkpoint_pvc="checkpoints",
    storage_endpoint="http://store.example:9000",
    storage_secret="store-keys",
    storage_secret_keys=("access", "secret"),
    cpu="7500m",
    memory="30Gi",
    ephemeral_storage="50Gi",
    gpus=2,
    shared_memory="8Gi",
    environment={"NCCL_DEBUG": "INFO"},
    topology_key="topology.kubernetes.io/zone",
    node_selector={"cloud.google.com/gke-accelerator": "nvidia-l4"},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    queue="gpus",
    priority_class="batch",
    active_deadline=3600,
    termination_grace_period=120,
    ttl_after_finished=600,
)  # fmt: skip


def render(
    cluster: ClusterConfig | None = None,
    group: WorkerGroup = GROUP,
    launcher: LauncherPod = LAUNCHER,
) -> dict[str, Any]:
    return render_jobset(group, DOCUMENT, cluster or ClusterConfig(train_image=IMAGE), launcher)


def with_workers(count: int) -> WorkerGroup:
    changed = TRAINING.model_copy(update={"train": TrainConfig(workers=count)})
    return build_worker_group(changed)


def pod(jobset: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"][
        "spec"
    ]
    return found


def container(jobset: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod(jobset)["containers"]
    return dict(found)


def variables(jobset: dict[str, Any]) -> dict[str, Any]:
    return {
        entry["name"]: entry.get("value", entry.get("valueFrom"))
        for entry in container(jobset)["env"]
    }


def test_the_whole_jobset_is_the_golden_one() -> None:
    """To refresh it: `yaml.safe_dump(found, sort_keys=False, width=140)`; review the difference."""
    found = json.loads(json.dumps(render(EVERYTHING)))
    assert yaml.safe_load(GOLDEN.read_text()) == found


def test_equal_jobs_are_equal_jobsets_in_every_run() -> None:
    assert render() == render()
    names = {
        render()["metadata"]["name"],
        render(group=with_workers(3))["metadata"]["name"],
        render(ClusterConfig(train_image=IMAGE, memory="5Gi"))["metadata"]["name"],
    }
    assert len(names) == 3
    # A launcher that was started again is another pod, and that of another run of this training
    # has another run: both have to find the gang.
    for changes in ({"name": "train-y", "uid": "other"}, {"run": "run-8"}):
        again = render(launcher=LAUNCHER.model_copy(update=changes))
        assert again["metadata"]["name"] == render()["metadata"]["name"]
        assert again["spec"] == render()["spec"]


def test_the_name_leaves_room_for_the_pods_names() -> None:
    made = jobset_name(StepName.TRAIN, "0123456789abcdef" * 4)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", made)
    assert len(made) <= 46
    assert len(f"{made}-worker-0-255-abcde") <= 63


def test_groups_with_different_jobs_do_not_write_each_other_s() -> None:
    assert job_document_name(GROUP) != job_document_name(with_workers(8))


def exit_message(code: int, rule_index: int) -> str:
    return (
        "Container train for pod kubert/x-worker-0-1-abcde failed with exit code "
        f"{code} matching FailJob rule at index {rule_index}"
    )


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        *((exit_message(code, rule_index=0), "permanent") for code in (64, 65, 72, 76, 78)),
        (exit_message(75, rule_index=2), "disrupted"),
        (
            "Pod kubert/x-worker-0-0-abcde has condition DisruptionTarget "
            "matching FailJob rule at index 1",
            "disrupted",
        ),
        ("Job has reached the specified backoff limit", None),
        (exit_message(165, rule_index=0), None),
    ],
)
def test_the_rules_match_the_job_controller_s_words(message: str, rule: str | None) -> None:
    """The messages are those of Kubernetes 1.34's Job controller."""
    matching = [
        name
        for name, patterns in FAILURE_MESSAGE_PATTERNS.items()
        if any(re.search(pattern, message) for pattern in patterns)
    ]
    assert matching == ([rule] if rule else [])


def test_failures_are_treated_by_their_reason() -> None:
    policy = render()["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == GROUP.max_restarts
    assert [(rule["name"], rule["action"]) for rule in policy["rules"]] == [
        ("overtime", "FailJobSet"),
        ("permanent", "FailJobSet"),
        ("disrupted", "RestartJobSetAndIgnoreMaxRestarts"),
        ("other", "RestartJobSet"),
    ]
    job = render()["spec"]["replicatedJobs"][0]["template"]["spec"]
    codes = [
        rule["onExitCodes"]["values"]
        for rule in job["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    ]
    assert codes == [[64, 65, 72, 76, 78], [exit_codes.PREEMPTED]]
    assert set(codes[0]) == exit_codes.NEVER_RESTARTED
    assert job["backoffLimit"] == 0


def test_workers_find_each_other_by_the_pods_variables() -> None:
    found = render()
    environment = variables(found) | {
        "JOBSET_NAME": found["metadata"]["name"],
        "REPLICATED_JOB": "worker",
        "JOB_INDEX": "0",
        "JOB_COMPLETION_INDEX": "3",
    }
    member = topology_from_environment(
        {jobset_name: value for jobset_name, value in environment.items() if isinstance(value, str)}
    )
    assert (len(member.workers), member.rank) == (4, 3)
    assert found["spec"]["network"] == {
        "enableDNSHostnames": True,
        "publishNotReadyAddresses": True,
    }
    labels = {
        jobset_name: value["fieldRef"]["fieldPath"]
        for jobset_name, value in variables(found).items()
        if isinstance(value, dict)
    }
    assert labels["JOBSET_NAME"] == "metadata.labels['jobset.sigs.k8s.io/jobset-name']"


def test_pods_get_no_rights_they_do_not_need() -> None:
    """Fault A9."""
    found = render(EVERYTHING)
    context = pod(found)["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["seccompProfile"]) == (
        True,
        10001,
        {"type": "RuntimeDefault"},
    )
    assert container(found)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(found)["automountServiceAccountToken"] is False
    assert pod(found)["enableServiceLinks"] is False


def test_secrets_are_named_and_never_copied() -> None:
    """Fault A6."""
    environment = variables(render(EVERYTHING))
    assert environment["AWS_ACCESS_KEY_ID"] == {
        "secretKeyRef": {"name": "store-keys", "key": "access"}
    }
    assert environment["AWS_SECRET_ACCESS_KEY"] == {
        "secretKeyRef": {"name": "store-keys", "key": "secret"}
    }
    assert "AWS_ACCESS_KEY_ID" not in variables(render())


def test_what_is_not_asked_for_is_not_there() -> None:
    plain = render()
    assert (
        not {"affinity", "nodeSelector", "tolerations", "priorityClassName", "imagePullSecrets"}
        & pod(plain).keys()
    )
    assert "suspend" not in plain["spec"]
    assert [volume["name"] for volume in pod(plain)["volumes"]] == ["work", "shared-memory"]
    assert "nvidia.com/gpu" not in container(plain)["resources"]["limits"]
    assert "KUBERT_GPUS" not in variables(plain)
    assert "cpu" not in container(plain)["resources"]["limits"]  # a limit would only slow it down
    assert "NCCL_DEBUG" not in variables(plain)


@pytest.mark.parametrize(
    "resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "nvidia.com/gpu.shared"]
)
def test_gpus_are_requested_by_the_name_of_their_resource(resource: str) -> None:
    found = render(ClusterConfig(train_image=IMAGE, gpus=1, gpu_resource=resource))
    for amounts in container(found)["resources"].values():
        assert {name: n for name, n in amounts.items() if "/" in name} == {resource: "1"}


def test_nccl_names_the_cause_of_its_errors_unless_it_is_set_otherwise() -> None:
    assert variables(render(ClusterConfig(train_image=IMAGE, gpus=1)))["NCCL_DEBUG"] == "WARN"
    assert variables(render(EVERYTHING))["NCCL_DEBUG"] == "INFO"


def test_workers_of_one_jobset_stay_in_one_zone() -> None:
    found = render(ClusterConfig(train_image=IMAGE, topology_key="topology.kubernetes.io/zone"))
    (term,) = pod(found)["affinity"]["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    job = found["spec"]["replicatedJobs"][0]["template"]["spec"]
    own_labels = job["template"]["metadata"]["labels"]
    # The first worker is scheduled only if it matches its own term.
    assert term["labelSelector"]["matchLabels"].items() <= own_labels.items()
    assert term["matchLabelKeys"] == ["jobset.sigs.k8s.io/jobset-name"]
    assert term["topologyKey"] == "topology.kubernetes.io/zone"


def test_a_queue_suspends_the_jobset_until_there_is_room() -> None:
    found = render(ClusterConfig(train_image=IMAGE, queue="gpus"))
    assert found["spec"]["suspend"] is True
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


def test_the_volume_is_where_the_options_say() -> None:
    mounts = {
        mount["name"]: mount["mountPath"] for mount in container(render(EVERYTHING))["volumeMounts"]
    }
    assert mounts == {"work": "/tmp", "shared-memory": "/dev/shm", "state": STATE_MOUNT}


def test_the_kubelet_waits_longer_than_the_worker() -> None:
    found = render(EVERYTHING)
    assert variables(found)["KUBERT_STOP_GRACE"] == "120"
    assert pod(found)["terminationGracePeriodSeconds"] > 120


def test_a_launcher_outside_the_cluster_owns_nothing() -> None:
    outside = LauncherPod.from_environment({}, "team")
    assert outside == LauncherPod(namespace="team")
    assert render(launcher=outside)["metadata"]["ownerReferences"] == []
    inside = {
        "KUBERT_NAMESPACE": "kubert",
        "KUBERT_POD_NAME": LAUNCHER.name,
        "KUBERT_POD_UID": LAUNCHER.uid,
        "KUBERT_RUN": LAUNCHER.run,
    }
    assert LauncherPod.from_environment(inside, "team") == LAUNCHER
    (owner,) = render()["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", LAUNCHER.name, LAUNCHER.uid)


def test_without_an_image_nothing_is_rendered() -> None:
    with pytest.raises(
        ConfigError, match=r"neither cluster\.train_image nor KUBERT_TRAIN_IMAGE is set"
    ):
        render(ClusterConfig())


@pytest.mark.parametrize(
    ("quantity", "number"), [("2", 2.0), ("250m", 0.25), ("0.5", 0.5), ("7500m", 7.5)]
)
def test_cores_are_read_as_kubernetes_writes_them(quantity: str, number: float) -> None:
    assert parse_cpu_quantity(quantity) == number
