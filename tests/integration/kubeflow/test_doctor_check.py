"""The check of Kubeflow Pipelines by `kubert doctor --cluster`."""

from __future__ import annotations

import pytest

from components.config.cluster import ClusterConfig
from pipeline.doctor import Check, Finding, run_checks
from pipeline.doctor.service_checks import check_kubeflow_pipelines
from tests.support.fake_kfp.server import FakeServer, run_server


def check(server: FakeServer, **options: str) -> Finding:
    """What the command reports about a server."""
    cluster = ClusterConfig.model_validate({"endpoint": server.url, **options})
    ((_, finding),) = run_checks([Check("kfp", lambda: check_kubeflow_pipelines(cluster))])
    return finding


def test_a_multi_user_server_runs_in_the_configured_namespace() -> None:
    with run_server(multi_user=True) as server:
        finding = check(server)
    assert (finding.state, finding.message) == ("ok", f"2.17.0 at {server.url} (none, multi-user)")


def test_a_single_user_server_starts_runs_in_its_own_namespace(server: FakeServer) -> None:
    finding = check(server)
    assert finding.state == "warning"
    assert "(none, single-user): starts runs in namespace kubeflow, not in kubert" in (
        finding.message
    )
    assert "KUBERT_NAMESPACE=kubeflow" in finding.remedy
    assert check(server, namespace="kubeflow").state == "ok"


def test_missing_credentials_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_server(multi_user=True) as server:
        server.token = "secret-1"
        assert check(server).state == "missing"
        monkeypatch.setenv("KUBERT_TOKEN", "secret-1")
        assert check(server).state == "ok"


def test_a_server_that_is_too_old_is_found() -> None:
    with run_server(version="1.8.5") as server:
        finding = check(server)
    assert finding.state == "missing"
    assert "kubert needs 2.0 or newer" in finding.message
