from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from components.config.cluster import ClusterConfig
from pipeline.doctor import (
    Finding,
    access_checks,
    capacity_checks,
    extension_checks,
    service_checks,
)
from pipeline.doctor.cluster_reader import ApiRequestError, Reader, run_api_check

BY_DIGEST = "x/image@sha256:" + "{0}" * 64
CLUSTER = ClusterConfig(backend="jobset", queue="team", storage_secret="store")
NAMESPACE = f"/api/v1/namespaces/{CLUSTER.namespace}"
ACCOUNT = f"{NAMESPACE}/serviceaccounts/{CLUSTER.service_account}"


class FakeApiServer:
    """Answers with the objects by path; 404 for other paths, and an error for `refused` paths.

    denied: the rights that access reviews deny, as `action resource`.
    """

    def __init__(
        self,
        objects: dict[str, Any] | None = None,
        refused: dict[str, ApiRequestError] | None = None,
        denied: tuple[str, ...] = (),
    ) -> None:
        self.objects, self.refused, self.denied = objects or {}, refused or {}, denied
        self.posted: list[tuple[str, dict[str, Any], bool]] = []

    def get(self, path: str) -> Any:
        if path in self.refused:
            raise self.refused[path]
        return self.objects.get(path)

    def post(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> Any:
        self.posted.append((path, body, dry_run))
        if path in self.refused:
            raise self.refused[path]
        if "resourceAttributes" not in body["spec"]:
            return body
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        return {"status": {"allowed": f"{asked['verb']} {resource}" not in self.denied}}


FORBIDDEN = tuple(
    f"{action} {right.resource}"
    for right in access_checks.FORBIDDEN_RIGHTS
    for action in right.actions
)


def label_namespace(level: str | None) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": level} if level else None
    return {"metadata": {"labels": labels}}


def node(
    labels: dict[str, str] | None = None, gpus: str = "0", **allocatable: str
) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels},
        "status": {"allocatable": {"nvidia.com/gpu": gpus, **allocatable}},
    }


def quota(hard: dict[str, str], used: dict[str, str]) -> dict[str, Any]:
    return {"items": [{"status": {"hard": hard, "used": used}}]}


def priority(operator: str, *values: str) -> dict[str, Any]:
    scope = {"scopeName": "PriorityClass", "operator": operator}
    return {"matchExpressions": [scope | ({"values": [*values]} if values else {})]}


@pytest.mark.parametrize(
    ("objects", "state", "message"),
    [
        ({}, "missing", "there is no namespace kubert"),
        ({NAMESPACE: label_namespace(None)}, "warning", "enforces the pod security level none"),
        (
            {NAMESPACE: label_namespace("baseline")},
            "warning",
            "enforces the pod security level baseline",
        ),
        ({NAMESPACE: label_namespace("restricted")}, "ok", "kubert, restricted"),
    ],
)
def test_the_namespace_enforces_the_restricted_profile(
    objects: dict[str, Any], state: str, message: str
) -> None:
    finding = access_checks.check_namespace(FakeApiServer(objects), CLUSTER)
    assert (finding.state, message in finding.message) == (state, True)


@pytest.mark.parametrize(
    ("objects", "denied", "state", "message"),
    [
        (
            {},
            FORBIDDEN,
            "missing",
            "no service account kubert-pipeline in kubert, where runs start",
        ),
        (
            {ACCOUNT: {}},
            (*FORBIDDEN, "create jobsets", "get pods/log"),
            "missing",
            "kubert-pipeline may not create jobsets, get pods/log",
        ),
        (
            {ACCOUNT: {}},
            FORBIDDEN[1:],
            "warning",
            "kubert-pipeline may get secrets",
        ),
        ({ACCOUNT: {}}, FORBIDDEN, "ok", "kubert-pipeline, no excessive rights"),
    ],
    ids=["absent", "lacks-rights", "excessive-rights", "right"],
)
def test_the_pipeline_account_has_the_rights_it_needs_and_no_others(
    objects: dict[str, Any], denied: tuple[str, ...], state: str, message: str
) -> None:
    finding = access_checks.check_pipeline_account(FakeApiServer(objects, denied=denied), CLUSTER)
    assert (finding.state, finding.message) == (state, message)


def test_rights_are_reviewed_for_the_account_in_its_namespace() -> None:
    server = FakeApiServer({ACCOUNT: {}}, denied=FORBIDDEN)
    access_checks.check_pipeline_account(server, CLUSTER)
    path, review, dry_run = server.posted[0]
    assert path.endswith("/namespaces/kubert/localsubjectaccessreviews")
    assert (review["kind"], dry_run) == ("LocalSubjectAccessReview", False)
    assert review["spec"]["user"] == "system:serviceaccount:kubert:kubert-pipeline"
    own = FakeApiServer(denied=("list pods",))
    finding = access_checks.check_user_rights(own, CLUSTER)
    assert (finding.state, finding.message) == ("warning", "this account may not list pods")
    assert own.posted[0][0].endswith("/v1/selfsubjectaccessreviews")
    assert "user" not in own.posted[0][1]["spec"]


def test_jobset_is_tried_with_a_dry_run() -> None:
    version = "/apis/jobset.x-k8s.io/v1alpha2"
    jobsets = f"{version}/namespaces/kubert/jobsets"
    assert extension_checks.check_jobset(FakeApiServer(), CLUSTER).state == "missing"
    server = FakeApiServer({version: {}})
    assert extension_checks.check_jobset(server, CLUSTER).state == "ok"
    assert [(path, dry_run) for path, _, dry_run in server.posted] == [(jobsets, True)]
    failure = ApiRequestError(500, "Internal error: failed calling webhook: connection refused")
    broken = FakeApiServer({version: {}}, refused={jobsets: failure})
    finding = extension_checks.check_jobset(broken, CLUSTER)
    assert (finding.state, finding.message) == ("missing", "failed calling webhook")
    assert "controller does not answer" in finding.remedy


@pytest.mark.parametrize(
    ("objects", "state", "message"),
    [
        ({}, "missing", "there is no low"),
        ({"value": 0}, "ok", "low, value 0"),
        ({"value": -1}, "missing", "low has the value -1: JobSet 0.11 and 0.12 cannot create"),
    ],
)
def test_the_priority_class_exists_and_is_not_negative(
    objects: dict[str, Any], state: str, message: str
) -> None:
    path = "/apis/scheduling.k8s.io/v1/priorityclasses/low"
    server = FakeApiServer({path: objects} if objects else {})
    cluster = ClusterConfig(backend="jobset", priority_class="low")
    finding = extension_checks.check_priority_class(server, cluster)
    assert finding.state == state
    assert finding.message.startswith(message)


def test_kueue_and_its_local_queue() -> None:
    group = {"/apis/kueue.x-k8s.io": {"preferredVersion": {"version": "v1beta1"}}}
    queue: dict[str, Any] = {"/apis/kueue.x-k8s.io/v1beta1/namespaces/kubert/localqueues/team": {}}
    for objects, state, message in (
        ({}, "missing", "Kueue is not installed"),
        (group, "missing", "no local queue team in kubert"),
        ({**group, **queue}, "ok", "queue team"),
    ):
        finding = extension_checks.check_local_queue(FakeApiServer(objects), CLUSTER)
        assert (finding.state, finding.message) == (state, message)


@pytest.mark.parametrize(
    ("options", "nodes", "state", "message"),
    [
        ({}, [node(cpu="4", memory="8Gi")], "ok", "1 of 1 can run a worker (cpu 2, memory 4Gi)"),
        ({}, [node(cpu="1900m", memory="8Gi")], "warning", "none of 1 can run a worker"),
        ({}, [node(cpu="4", memory="4000Mi")], "warning", "none of 1 can run a worker"),
        (
            {"node_selector": {"pool": "a"}},
            [node(cpu="4", memory="8Gi"), node({"pool": "a"}, cpu="4", memory="8Gi")],
            "ok",
            "1 of 2 can run a worker",
        ),
        ({"gpus": 1}, [node(cpu="4", memory="8Gi")], "warning", "none of 1 has nvidia.com/gpu"),
        (
            {"gpus": 2},
            [node(cpu="4", memory="8Gi", gpus="1")],
            "warning",
            "none of 1 can run a worker (cpu 2, memory 4Gi, nvidia.com/gpu 2)",
        ),
        (
            {"gpus": 1, "backend": "local"},
            [node(cpu="4", memory="8Gi", gpus="1")],
            "warning",
            "none of 1 can run a worker (cpu 2, memory 4Gi, nvidia.com/gpu 2)",
        ),
    ],
    ids=["fits", "cpu", "memory", "node-selector", "no-gpus", "too-few-gpus", "gpus-of-all"],
)
def test_a_worker_fits_on_a_node(
    options: dict[str, Any], nodes: list[dict[str, Any]], state: str, message: str
) -> None:
    server = FakeApiServer({"/api/v1/nodes": {"items": nodes}})
    finding = capacity_checks.check_nodes(server, CLUSTER.model_copy(update=options), 2)
    assert (finding.state, message in finding.message) == (state, True), finding


@pytest.mark.parametrize(
    ("quotas", "workers", "state", "message"),
    [
        ({"items": []}, 2, "ok", "none"),
        (quota({"requests.memory": "9Gi", "pods": "10"}, {}), 2, "ok", "room for 2 workers"),
        (
            quota({"requests.memory": "5Gi", "pods": "10"}, {"requests.memory": "0"}),
            2,
            "missing",
            "no room for 2 workers: requests.memory 0 of 5Gi used",
        ),
        (
            quota({"pods": "10"}, {"pods": "9"}),
            2,
            "missing",
            "no room for 2 workers: pods 9 of 10 used",
        ),
    ],
    ids=["no-quota", "room", "memory", "pods"],
)
def test_the_quotas_have_room_for_all_workers(
    quotas: dict[str, Any], workers: int, state: str, message: str
) -> None:
    server = FakeApiServer({f"{NAMESPACE}/resourcequotas": quotas})
    finding = capacity_checks.check_quota(
        server, CLUSTER, {"train.workers": workers, "evaluate.workers": 0}
    )
    assert (finding.state, finding.message) == (state, message)


@pytest.mark.parametrize(
    ("spec", "is_counted"),
    [
        ({"scopeSelector": priority("In", "high")}, False),
        ({"scopeSelector": priority("In", "high", "team")}, True),
        ({"scopeSelector": priority("NotIn", "team")}, False),
        ({"scopeSelector": priority("Exists")}, True),
        ({"scopes": ["PriorityClass"]}, True),
        ({"scopeSelector": priority("DoesNotExist")}, False),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["NotBestEffort", "NotTerminating"]}, True),
        ({"scopes": ["NotBestEffort"], "scopeSelector": priority("In", "high")}, False),
    ],
)
def test_a_quota_whose_scopes_leave_the_workers_out_does_not_count(
    spec: dict[str, Any], is_counted: bool
) -> None:
    full = {"spec": spec, "status": {"hard": {"pods": "0"}}}
    server = FakeApiServer({f"{NAMESPACE}/resourcequotas": {"items": [full]}})
    cluster = CLUSTER.model_copy(update={"priority_class": "team"})
    finding = capacity_checks.check_quota(server, cluster, {"train.workers": 2})
    assert finding.state == ("missing" if is_counted else "ok")


def test_the_storage_secret_has_both_keys() -> None:
    path = f"{NAMESPACE}/secrets/store"
    for objects, state, message in (
        ({}, "missing", "there is no secret kubert/store"),
        ({path: {"data": {"accesskey": "x"}}}, "missing", "kubert/store has no secretkey"),
        ({path: {"data": {"accesskey": "x", "secretkey": "y"}}}, "ok", "store has accesskey"),
    ):
        finding = service_checks.check_storage_secret(FakeApiServer(objects), CLUSTER)
        assert (finding.state, message in finding.message) == (state, True)


def read_nodes(reader: Reader) -> Finding:
    return Finding.ok(str(reader.get("/api/v1/nodes")))


@pytest.mark.parametrize(
    ("status", "state", "message"),
    [
        (401, "warning", "this account has no right to check it"),
        (403, "warning", "this account has no right to check it"),
        (500, "missing", "the API server refuses the request with 500: etcd is away"),
    ],
)
def test_a_refused_request_is_a_warning_only_if_this_account_lacks_the_right(
    status: int, state: str, message: str
) -> None:
    server = FakeApiServer(refused={"/api/v1/nodes": ApiRequestError(status, "etcd is away")})
    check: Callable[..., Finding] = read_nodes
    finding = run_api_check(check, server)
    assert (finding.state, finding.message) == (state, message)


@pytest.mark.parametrize(
    ("options", "state", "message"),
    [
        ({"step_image": BY_DIGEST.format("b")}, "ok", "by digest"),
        ({}, "ok", "by digest; steps without a GPU use the workers' image"),
        ({"step_image": "x/step:1"}, "warning", "without a digest: x/step:1"),
        ({"train_image": "x/train:1"}, "warning", "without a digest: x/train:1"),
    ],
    ids=["own-image", "one-image", "step-by-tag", "one-image-by-tag"],
)
def test_every_image_has_a_digest_and_cuda_is_pulled_where_it_is_used(
    options: dict[str, Any], state: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERT_STEP_IMAGE", raising=False)
    images = {"train_image": BY_DIGEST.format("a"), "tools_image": BY_DIGEST.format("c")}
    finding = service_checks.check_images(ClusterConfig(**{"gpus": 1, **images, **options}))
    assert (finding.state, finding.message) == (state, message)


@pytest.mark.parametrize(
    ("image", "loaded", "state", "message"),
    [
        (BY_DIGEST.format("a"), [], "ok", "all are a registry's"),
        ("kubert:1", ["docker.io/library/kubert:1"], "ok", "on a node: kubert:1"),
        ("localhost/kubert:1", ["localhost/kubert:1"], "ok", "on a node: localhost/kubert:1"),
        ("kubert:1", ["localhost/kubert:1"], "warning", "no node has kubert:1, which no registry"),
    ],
    ids=["registry", "loaded", "loaded-as-localhost", "loaded-under-another-name"],
)
def test_images_without_a_registry_are_on_a_node(
    image: str, loaded: list[str], state: str, message: str
) -> None:
    nodes = {"items": [{"status": {"images": [{"names": loaded}]}}, {"status": {}}]}
    cluster = ClusterConfig(train_image=image, tools_image=image, step_image=image)
    finding = service_checks.check_loaded_images(FakeApiServer({"/api/v1/nodes": nodes}), cluster)
    assert finding.state == state
    assert finding.message.startswith(message)
