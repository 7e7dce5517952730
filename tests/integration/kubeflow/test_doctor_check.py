"""The check of Kubeflow Pipelines by `kubert doctor --cluster`."""

from __future__ import annotations

import pytest

from components.config.cluster import ClusterConfig
from pipeline.doctor import Check, Finding, run_checks
from pipeline.doctor.service_checks import KubeflowServer
from tests.support.fake_kfp.server import FakeServer, run_server


def check(server: FakeServer, **options: str) -> Finding:
    """What the command reports about a server."""
    cluster = ClusterConfig.model_validate({"endpoint": server.url, **options})
    ((_, finding),) = run_checks([Check("kfp", KubeflowServer(cluster).check)])
    return finding


def test_a_multi_user_server_starts_runs_in_the_configured_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBERT_TOKEN", "secret-1")
    with run_server(multi_user=True) as server:
        finding = check(server)
    found = f"2.17.0 at {server.url} (token, multi-user), starts runs in kubert"
    assert (finding.state, finding.message) == ("ok", found)


def test_a_multi_user_server_without_a_credential_is_reported(server: FakeServer) -> None:
    server.state.multi_user = True
    finding = check(server)
    assert finding.state == "missing"
    assert "separates users, and no credential is given" in finding.message
    assert "KUBERT_TOKEN (kubectl -n kubert create token kubert-submitter" in finding.remedy


def test_a_single_user_server_starts_runs_in_its_own_namespace(server: FakeServer) -> None:
    cluster = ClusterConfig(endpoint=server.url)
    found = KubeflowServer(cluster)
    assert found.run_cluster.namespace == "kubert", "the mode is not known yet"
    finding = found.check()
    assert (finding.state, found.run_cluster.namespace) == ("ok", "kubeflow")
    assert finding.message.endswith("(none, single-user), starts runs in kubeflow")


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
