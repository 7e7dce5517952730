"""Where the cluster is: the order of preference, and the texts of errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kubernetes.client import ApiException
from kubernetes.config import incluster_config

from components.kubernetes_client import (
    ClusterNotFoundError,
    describe_api_error,
    describe_refusal,
    new_api_client,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without a kubeconfig, outside any pod."""
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    return home


def write_kubeconfig(path: Path, host: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://{host}:6443"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {}}],
    }
    path.write_text(json.dumps(config))
    return path


def enter_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("token")
    (tmp_path / "ca.crt").write_text("certificate")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "pod.example")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    # A client reads the certificate when it is made; this test makes no connection.
    monkeypatch.setattr("ssl.SSLContext.load_verify_locations", lambda *arguments, **options: None)


def find_host() -> str:
    return str(new_api_client().configuration.host)


def test_kubeconfig_comes_before_the_pod_and_the_pod_before_the_default(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kubeconfig(home / ".kube" / "config", "default.example")
    assert find_host() == "http://default.example:6443"
    enter_pod(tmp_path, monkeypatch)
    assert find_host() == "https://pod.example:443"
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "named", "named.example")))
    assert find_host() == "http://named.example:6443"
    monkeypatch.setenv("KUBECONFIG", "")
    assert find_host() == "https://pod.example:443"


def test_of_several_kubeconfig_files_those_that_exist_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = write_kubeconfig(tmp_path / "named", "named.example")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{named}")
    assert find_host() == "http://named.example:6443"


def test_an_unusable_kubeconfig_is_an_error_even_in_a_pod(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kubeconfig(home / ".kube" / "config", "default.example")
    enter_pod(tmp_path, monkeypatch)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterNotFoundError, match=r"KUBECONFIG=.*/none is not usable"):
        new_api_client()


@pytest.mark.parametrize("content", [None, "", "{", "current-context: here\n", "[1]\n"])
def test_no_cluster_is_an_error_that_says_what_to_set(home: Path, content: str | None) -> None:
    if content is not None:
        (home / ".kube" / "config").write_text(content)
    with pytest.raises(ClusterNotFoundError, match=r"~/.kube/config is not usable.*set KUBECONFIG"):
        new_api_client()


def test_a_refusal_names_action_namespace_and_reason() -> None:
    error = ApiException(status=403, reason="Forbidden")
    error.body = json.dumps({"message": "pods is\nforbidden"})
    assert describe_refusal("list pods", "kubert", error) == (
        "Kubernetes refuses to list pods in namespace kubert: pods is forbidden; "
        "give the account the role in k8s/accounts that allows it"
    )
    error.body = json.dumps({"message": "jobsets is forbidden: exceeded quota: kubert, used: 20"})
    assert describe_refusal("create jobsets", "kubert", error).endswith(
        "used: 20; wait until other runs and their JobSets are gone (cluster.ttl_after_finished), "
        "delete them, or raise the quota"
    )
    error.body = "<html>"
    assert describe_api_error(error) == "403 Forbidden"


def test_the_kubernetes_package_is_imported_on_first_use() -> None:
    code = "import sys, components.kubernetes_client; sys.exit('kubernetes' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
