"""What a run needs where it starts: refused before it is sent, and only for what is certain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from urllib3.exceptions import NewConnectionError

from components.config.cluster import ClusterConfig
from components.config.schema import Config
from components.errors import USER_ERROR_CODES, ConfigError
from pipeline.doctor import service_checks
from pipeline.doctor.cluster_reader import ApiRequestError
from pipeline.doctor.requirements import refuse_without_requirements
from pipeline.kubeflow.submission import SCORING, TRAINING, PipelineKind

WORKER_COUNTS = TRAINING.count_workers(Config())
SECRET = "mlpipeline-minio-artifact"
ARCHIVE = """
archiveLogs: true
s3:
  endpoint: "seaweedfs.kubeflow.svc:9000"
  accessKeySecret: {name: mlpipeline-minio-artifact, key: accesskey}
  secretKeySecret: {name: mlpipeline-minio-artifact, key: secretkey}
"""


class Cluster:
    """A cluster in which a run can start; tests take something away, or refuse a path."""

    def __init__(self, namespace: str, **more: Any) -> None:
        base = f"/api/v1/namespaces/{namespace}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.objects: dict[str, Any] = {
            "/api/v1/namespaces/kubeflow/services/ml-pipeline": {},
            "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap": {
                "data": {"artifactRepository": ARCHIVE}
            },
            base: {"metadata": {"labels": labels}},
            f"{base}/serviceaccounts/kubert-pipeline": {},
            f"{base}/serviceaccounts/kubert-worker": {},
            f"{base}/secrets/{SECRET}": {"data": {"accesskey": "x", "secretkey": "y"}},
            f"{base}/resourcequotas": {"items": []},
            "/apis/jobset.x-k8s.io/v1alpha2": {},
            **more,
        }
        self.errors: dict[str, Exception] = {}

    def without(self, ending: str) -> Cluster:
        self.objects = {path: value for path, value in self.objects.items() if ending not in path}
        return self

    def refusing(self, part: str, error: Exception) -> Cluster:
        self.errors[part] = error
        return self

    def get(self, path: str) -> Any:
        for part, error in self.errors.items():
            if part in path:
                raise error
        return self.objects.get(path)

    def post(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> Any:
        self.get(path)
        return {"status": {"allowed": True}}


def check(
    cluster: Cluster,
    namespace: str = "kubert",
    worker_counts: Mapping[str, int] = WORKER_COUNTS,
    **options: Any,
) -> None:
    section = ClusterConfig(backend="jobset", namespace=namespace, **options)
    refuse_without_requirements(worker_counts, section, cluster)


@pytest.mark.parametrize("namespace", ["kubert", "kubeflow"])
def test_a_run_that_can_start_is_sent(namespace: str) -> None:
    check(Cluster(namespace), namespace)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("serviceaccounts/kubert-pipeline", "no service account kubert-pipeline in kubert"),
        ("serviceaccounts/kubert-worker", "no service account kubert-worker in kubert"),
        (f"secrets/{SECRET}", f"no secret kubert/{SECRET}; copy the secret"),
        ("jobset.x-k8s.io", "JobSet is not installed; install JobSet"),
        ("/api/v1/namespaces/kubert", "there is no namespace kubert; kubectl apply -k"),
    ],
)
def test_what_is_missing_is_refused_with_its_remedy(absent: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(Cluster("kubert").without(absent))
    assert message in str(caught.value)
    assert "nothing was sent" in str(caught.value)
    assert caught.value.exit_code in USER_ERROR_CODES


def test_on_a_single_user_server_the_remedy_is_its_own_manifest() -> None:
    with pytest.raises(ConfigError, match=r"in kubeflow, .*\n?.*kubectl apply -k k8s/single-user"):
        check(Cluster("kubeflow").without("kubert-pipeline"), "kubeflow")


def test_a_queue_that_does_not_exist_is_refused() -> None:
    group = {"/apis/kueue.x-k8s.io": {"preferredVersion": {"version": "v1beta1"}}}
    with pytest.raises(ConfigError, match="no local queue team in kubert"):
        check(Cluster("kubert", **group), queue="team")


@pytest.mark.parametrize(("hard", "refused"), [({"pods": "0"}, True), ({"pods": "5"}, False)])
def test_a_quota_refuses_what_never_fits_and_not_what_others_use_now(
    hard: dict[str, str], refused: bool
) -> None:
    quota = {"items": [{"status": {"hard": hard, "used": hard}}]}
    cluster = Cluster("kubert", **{"/api/v1/namespaces/kubert/resourcequotas": quota})
    if not refused:
        check(cluster)
        return
    with pytest.raises(ConfigError, match="no room for 1 workers"):
        check(cluster)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param(TRAINING, "no room for 7 workers: .* lower evaluate.workers", id="training"),
        pytest.param(SCORING, "no room for 6 workers: .* lower score.workers", id="scoring"),
    ],
)
def test_the_step_with_the_most_workers_of_the_pipeline_has_to_fit(
    kind: PipelineKind, message: str
) -> None:
    config = Config.model_validate(
        {"train": {"workers": 2}, "evaluate": {"workers": 7}, "score": {"workers": 6}}
    )
    quota = {"items": [{"status": {"hard": {"pods": "5"}}}]}
    cluster = Cluster("kubert", **{"/api/v1/namespaces/kubert/resourcequotas": quota})
    with pytest.raises(ConfigError, match=message):
        check(cluster, worker_counts=kind.count_workers(config))


@pytest.mark.parametrize(
    "cluster",
    [
        pytest.param(
            Cluster("kubert").without("kubert-pipeline").without("services/ml-pipeline"),
            id="another-cluster",
        ),
        pytest.param(
            Cluster("kubert").refusing("/", NewConnectionError(None, "refused")),  # type: ignore[arg-type]
            id="no-answer",
        ),
        pytest.param(
            Cluster("kubert").refusing("/namespaces/kubert", ApiRequestError(403, "forbidden")),
            id="no-rights",
        ),
        pytest.param(
            Cluster("kubert").refusing("/namespaces/kubert", ApiRequestError(500, "etcd is away")),
            id="server-error",
        ),
    ],
)
def test_what_is_not_certain_refuses_nothing(cluster: Cluster) -> None:
    check(cluster)


def test_whoever_may_not_look_into_kubeflow_is_still_checked() -> None:
    cluster = Cluster("kubert").refusing("/kubeflow/", ApiRequestError(403, "forbidden"))
    check(cluster)
    with pytest.raises(ConfigError, match="no service account"):
        check(cluster.without("kubert-worker"))


@pytest.mark.parametrize(
    ("settings", "own", "state", "message"),
    [
        ("", None, "ok", "off"),
        ("archiveLogs: false", None, "ok", "off"),
        (ARCHIVE, None, "ok", f"to seaweedfs.kubeflow.svc:9000, {SECRET}"),
        (ARCHIVE, '{"archiveLogs": false}', "ok", "off"),
        ("archiveLogs: true\ngcs: {bucket: logs}", None, "ok", "to its store, without a secret"),
        ("[", None, "ok", "off"),
    ],
    ids=["none", "off", "controller", "the-namespace-has-its-own", "gcs", "not-yaml"],
)
def test_the_log_archive_is_that_of_the_namespace_or_of_the_controller(
    settings: str, own: str | None, state: str, message: str
) -> None:
    annotation = {"workflows.argoproj.io/default-artifact-repository": "mine"}
    cluster = Cluster(
        "kubert",
        **{
            "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap": {
                "data": {"artifactRepository": settings}
            },
            "/api/v1/namespaces/kubert/configmaps/artifact-repositories": own
            and {"metadata": {"annotations": annotation}, "data": {"mine": own}},
        },
    )
    finding = service_checks.check_log_archive(cluster, ClusterConfig())
    assert (finding.state, finding.message) == (state, message)


def test_policies_that_keep_the_logs_from_their_store_are_found() -> None:
    path = "/apis/networking.k8s.io/v1/namespaces/kubert/networkpolicies"
    for names, state in (
        (["default-deny"], "missing"),
        (["default-deny", "kubeflow-storage"], "ok"),
        (["mine"], "ok"),
    ):
        items = [{"metadata": {"name": name}} for name in names]
        cluster = Cluster("kubert", **{path: {"items": items}})
        finding = service_checks.check_log_archive(cluster, ClusterConfig())
        assert finding.state == state, names
    secret = f"/api/v1/namespaces/kubert/secrets/{SECRET}"
    half = Cluster("kubert", **{secret: {"data": {"accesskey": "x"}}})
    finding = service_checks.check_log_archive(half, ClusterConfig())
    assert finding.message == f"kubert/{SECRET} has no secretkey"
