"""Address and credentials of the API: precedence, checks, and a port-forward process."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from components.config.loading import validate_config
from components.errors import ConfigError, UsageError
from pipeline.kubeflow.endpoint import PortForwardError, open_endpoint, resolve_connection

URL = "https://kfp.example.com/pipeline"


def build_cluster_config(**options: str):
    return validate_config({"cluster": options}).cluster


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """An environment without kubectl and without a pod's token."""
    return {
        "PATH": str(tmp_path / "empty"),
        "KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "no-token"),
    }


def test_flags_come_before_the_environment_and_that_before_the_configuration() -> None:
    configured = build_cluster_config(endpoint="https://c.example", namespace="c", experiment="c")
    environment = {"KUBERT_ENDPOINT": "https://e.example", "KUBERT_NAMESPACE": "e"}
    found = resolve_connection(configured, namespace="f", environment=environment)
    assert (found.endpoint, found.namespace, found.experiment) == ("https://e.example", "f", "c")
    assert resolve_connection(configured, environment={}) == configured


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--endpoint.*\n.*cluster\.endpoint"):
        resolve_connection(build_cluster_config(), endpoint="kfp.example.com", environment={})
    with pytest.raises(ConfigError, match=r"cluster\.namespace"):
        resolve_connection(build_cluster_config(), namespace="Team!", environment={})


@pytest.mark.parametrize(
    ("environment", "method", "credential", "secret"),
    [
        pytest.param({"KUBERT_TOKEN": "t"}, "token", "token", "t", id="token"),
        pytest.param(
            {"KUBERT_TOKEN_FILE": "{dir}/token"}, "token", "token", "from-file", id="token-file"
        ),
        pytest.param({"KUBERT_COOKIE": "session=c"}, "cookie", "cookie", "session=c", id="cookie"),
        pytest.param(
            {"KF_PIPELINES_SA_TOKEN_PATH": "{dir}/token"},
            "in-cluster",
            "token",
            "from-file",
            id="in-cluster",
        ),
        pytest.param({}, "none", "none", "", id="none"),
    ],
)
def test_the_first_credential_at_hand(
    nobody: dict[str, str],
    tmp_path: Path,
    environment: dict[str, str],
    method: str,
    credential: str,
    secret: str,
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    given = {name: value.format(dir=tmp_path) for name, value in environment.items()}
    with open_endpoint(build_cluster_config(endpoint=URL), {**nobody, **given}) as found:
        assert (found.url, found.method, found.credential, found.read_secret()) == (
            URL,
            method,
            credential,
            secret,
        )
        assert "from-file" not in repr(found)


def test_in_a_pod_no_address_is_needed(nobody: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "no-token").write_text("old")
    with open_endpoint(build_cluster_config(kubeflow_namespace="pipelines"), nobody) as found:
        assert found.url == "http://ml-pipeline.pipelines.svc.cluster.local:8888"
        (tmp_path / "no-token").write_text("new")
        assert found.read_secret() == "new"


@pytest.mark.parametrize(
    ("ui", "link"),
    [
        (None, None),
        ("https://kubeflow.example/pipeline", "https://kubeflow.example/pipeline/#/runs/details/1"),
        ("http://localhost:8080/", "http://localhost:8080/#/runs/details/1"),
    ],
)
def test_links_lead_to_the_ui_and_never_to_the_api(
    nobody: dict[str, str], ui: str | None, link: str | None
) -> None:
    options = {"endpoint": URL, **({"ui": ui} if ui else {})}
    with open_endpoint(build_cluster_config(**options), nobody) as found:
        assert found.page_url("runs", "1") == link


def test_without_a_way_to_the_server_the_error_lists_all_ways(nobody: dict[str, str]) -> None:
    with (
        pytest.raises(
            UsageError, match=r"--endpoint, KUBERT_ENDPOINT or cluster\.endpoint.*kubectl"
        ),
        open_endpoint(build_cluster_config(), nobody),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ({"auth": "token", "endpoint": URL}, {}, "KUBERT_TOKEN is not set"),
        (
            {"auth": "token", "endpoint": URL},
            {"KUBERT_TOKEN_FILE": "/nonexistent/token"},
            "cannot read /nonexistent/token",
        ),
        ({"auth": "token", "endpoint": URL}, {"KUBERT_TOKEN": "a\nb"}, "line breaks"),
        ({"auth": "cookie", "endpoint": URL}, {}, "KUBERT_COOKIE is not set"),
        ({"auth": "in-cluster", "endpoint": URL}, {}, "audience pipelines.kubeflow.org"),
        ({"auth": "token"}, {"KUBERT_TOKEN": "t"}, "needs an address"),
        (
            {"endpoint": "http://kfp.example.com"},
            {"KUBERT_TOKEN": "t"},
            "would be sent unencrypted",
        ),
        (
            {"endpoint": URL},
            {"KUBERT_CA": "/nonexistent/ca.pem"},
            "KUBERT_CA=/nonexistent/ca.pem: no such file",
        ),
    ],
)
def test_what_is_missing_is_named(
    nobody: dict[str, str], options: dict[str, str], environment: dict[str, str], message: str
) -> None:
    with (
        pytest.raises(UsageError) as caught,
        open_endpoint(build_cluster_config(**options), {**nobody, **environment}),
    ):
        pass
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8888",
        "http://127.0.0.1:8888",
        "http://ml-pipeline:8888",
        "http://ml-pipeline.kubeflow.svc:8888",
    ],
)
def test_a_credential_may_travel_openly_within_machine_and_cluster(
    nobody: dict[str, str], url: str
) -> None:
    with open_endpoint(
        build_cluster_config(endpoint=url), {**nobody, "KUBERT_TOKEN": "t"}
    ) as found:
        assert found.credential == "token"


def kubectl(directory: Path, body: str) -> None:
    """A program called kubectl that behaves like `kubectl port-forward`."""
    program = directory / "kubectl"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys, time\n"
        f"print(os.getpid(), *sys.argv[1:], file=open('{directory}/called', 'w'))\n"
        + textwrap.dedent(body)
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_a_port_is_forwarded_and_kubectl_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(
        tmp_path, "print('Forwarding from 127.0.0.1:40123 -> 8888', flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with open_endpoint(
        build_cluster_config(auth="port-forward", kubeflow_namespace="pipelines"),
        {"PATH": os.environ["PATH"]},
    ) as found:
        assert (found.url, found.credential) == ("http://127.0.0.1:40123", "none")
        pid, *arguments = (tmp_path / "called").read_text().split()
        assert arguments == [
            "port-forward",
            "--namespace",
            "pipelines",
            "--address",
            "127.0.0.1",
            "svc/ml-pipeline",
            ":8888",
        ]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


@pytest.mark.parametrize(
    ("environment", "credential"),
    [({"KUBERT_TOKEN": "t"}, "token"), ({"KUBERT_COOKIE": "session=c"}, "cookie")],
)
def test_a_port_forward_takes_the_credential_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], credential: str
) -> None:
    kubectl(
        tmp_path, "print('Forwarding from 127.0.0.1:40123 -> 8888', flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with open_endpoint(build_cluster_config(auth="port-forward"), environment) as found:
        assert (found.method, found.credential) == ("port-forward", credential)
        assert found.read_secret() == next(iter(environment.values()))


def test_a_forward_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(
        tmp_path, "sys.exit('Error from server (NotFound): services \"ml-pipeline\" not found')\n"
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        pytest.raises(PortForwardError, match='services "ml-pipeline" not found'),
        open_endpoint(build_cluster_config(auth="port-forward")),
    ):
        pass


def test_a_forward_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(tmp_path, "time.sleep(60)\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("pipeline.kubeflow.endpoint.PORT_FORWARD_TIMEOUT_SECONDS", 1.0)
    with (
        pytest.raises(PortForwardError, match="no answer in 1 s"),
        open_endpoint(build_cluster_config(auth="port-forward")),
    ):
        pass
