"""Address of the Kubeflow Pipelines API and credentials for it.

Precedence: flags, then environment variables, then the configuration. Credentials are read for each
request, so one that is renewed in its file is used at once. They are never shown, sent over plain
HTTP beyond this machine and the cluster, or sent to the target of a redirect.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from components.config.cluster import ClusterConfig
from components.config.environment import (
    ENV_AUTH,
    ENV_CA,
    ENV_COOKIE,
    ENV_ENDPOINT,
    ENV_EXPERIMENT,
    ENV_NAMESPACE,
    ENV_TOKEN,
    ENV_TOKEN_FILE,
)
from components.errors import KubertError, UsageError

IN_CLUSTER_TOKEN_PATH = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 - a path
"""Where Kubeflow projects a service account token of audience pipelines.kubeflow.org."""
API_SERVICE, API_PORT = "ml-pipeline", 8888
PORT_FORWARD_TIMEOUT_SECONDS = 20.0
_OPTION_VARIABLES = {
    "endpoint": ENV_ENDPOINT,
    "auth": ENV_AUTH,
    "namespace": ENV_NAMESPACE,
    "experiment": ENV_EXPERIMENT,
}
CredentialKind = Literal["none", "token", "cookie"]
AuthMethod = Literal["none", "in-cluster", "token", "cookie", "port-forward"]


class PortForwardError(KubertError):
    """kubectl could not reach the API server of Kubeflow Pipelines."""


@dataclass(frozen=True)
class Endpoint:
    """An address and its authentication; `read_secret` reads the credential for each request."""

    url: str
    method: AuthMethod
    namespace: str
    experiment: str
    ca_file: str | None = None
    credential: CredentialKind = "none"
    read_secret: Callable[[], str] = field(default=lambda: "", repr=False)
    ui: str | None = None

    def page_url(self, kind: Literal["runs", "recurringrun"], identifier: str) -> str | None:
        """Address of the UI's page about a run or a schedule; None if `cluster.ui` is not set.

        The address of the API says nothing about that of the UI, which is another service.
        """
        return f"{self.ui.rstrip('/')}/#/{kind}/details/{identifier}" if self.ui else None


def resolve_connection(
    cluster: ClusterConfig,
    *,
    endpoint: str | None = None,
    namespace: str | None = None,
    experiment: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> ClusterConfig:
    """The section with flags and KUBERT_ variables laid over it.

    The variables are KUBERT_ENDPOINT, KUBERT_AUTH, KUBERT_NAMESPACE and KUBERT_EXPERIMENT.
    """
    from components.config.loading import validate_config

    given = {"endpoint": endpoint, "namespace": namespace, "experiment": experiment}
    flags = {name: value for name, value in given.items() if value is not None}
    variables = {
        option: environment[variable]
        for option, variable in _OPTION_VARIABLES.items()
        if environment.get(variable)
    }
    values = {**cluster.model_dump(), **variables, **flags}
    return validate_config(
        {"cluster": values}, "--endpoint, --namespace, --experiment or KUBERT_ variables"
    ).cluster


@contextmanager
def open_endpoint(
    cluster: ClusterConfig, environment: Mapping[str, str] = os.environ
) -> Iterator[Endpoint]:
    """The endpoint of a section from `resolve_connection`, reachable while the block runs.

    A port-forward ends with the block. Raises UsageError where there is neither an address nor a
    way to find one, or where a credential would be sent unencrypted.
    """
    method = _choose_auth_method(cluster, environment)
    ca_file = _find_ca_file(environment)
    credential, secret = _find_credential(method, environment)

    def endpoint(url: str) -> Endpoint:
        return Endpoint(
            url.rstrip("/"),
            method,
            cluster.namespace,
            cluster.experiment,
            ca_file,
            credential,
            secret,
            cluster.ui,
        )

    if method == "port-forward":
        with _forward_port(cluster.kubeflow_namespace) as url:
            yield endpoint(url)
        return
    url = (
        cluster.endpoint
        or f"http://{API_SERVICE}.{cluster.kubeflow_namespace}.svc.cluster.local:{API_PORT}"
    )
    _check_encrypted(url, credential)
    yield endpoint(url)


def _choose_auth_method(cluster: ClusterConfig, environment: Mapping[str, str]) -> AuthMethod:
    if cluster.auth != "auto":
        if cluster.endpoint is None and cluster.auth not in ("in-cluster", "port-forward"):
            raise UsageError(
                f"cluster.auth={cluster.auth} needs an address: --endpoint, KUBERT_ENDPOINT or "
                "cluster.endpoint"
            )
        return cluster.auth
    in_cluster = _find_token_file(environment).exists()
    if cluster.endpoint:
        given = _find_given_credential(environment)
        return given or ("in-cluster" if in_cluster else "none")
    if in_cluster:
        return "in-cluster"
    if shutil.which("kubectl", path=environment.get("PATH")):
        return "port-forward"
    raise UsageError(
        "no address of Kubeflow Pipelines: give it with --endpoint, KUBERT_ENDPOINT or "
        "cluster.endpoint, or install kubectl, and kubert forwards a port by itself"
    )


def _find_given_credential(environment: Mapping[str, str]) -> Literal["token", "cookie"] | None:
    if environment.get(ENV_TOKEN) or environment.get(ENV_TOKEN_FILE):
        return "token"
    return "cookie" if environment.get(ENV_COOKIE) else None


def _find_token_file(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("KF_PIPELINES_SA_TOKEN_PATH") or IN_CLUSTER_TOKEN_PATH)


def _find_credential(
    method: AuthMethod, environment: Mapping[str, str]
) -> tuple[CredentialKind, Callable[[], str]]:
    if method == "port-forward":
        # The forward is only a way to the server: a multi-user one needs a credential, too.
        method = _find_given_credential(environment) or "none"
    if method == "token":
        if path := environment.get(ENV_TOKEN_FILE):
            return "token", _validate_secret(
                "token", lambda: _read_secret_file(Path(path), ENV_TOKEN_FILE)
            )
        return "token", _validate_secret(
            "token",
            lambda: _read_variable(
                environment,
                ENV_TOKEN,
                "a token, or KUBERT_TOKEN_FILE to the file that holds it",
            ),
        )
    if method == "cookie":
        return "cookie", _validate_secret(
            "cookie",
            lambda: _read_variable(environment, ENV_COOKIE, "name=value of the session's cookie"),
        )
    if method == "in-cluster":
        return "token", _validate_secret(
            "token", lambda: _read_secret_file(_find_token_file(environment), "in-cluster token")
        )
    return "none", lambda: ""


def _validate_secret(kind: str, source: Callable[[], str]) -> Callable[[], str]:
    def read_secret() -> str:
        value = source().strip()
        if not value or not value.isascii() or not value.isprintable():
            raise UsageError(
                f"the {kind} is empty or contains characters that no {kind} has "
                "(line breaks, quotes from a copy?)"
            )
        return value

    read_secret()
    return read_secret


def _read_variable(environment: Mapping[str, str], name: str, what: str) -> str:
    if not environment.get(name):
        raise UsageError(f"{name} is not set; set it to {what}")
    return environment[name]


def _read_secret_file(path: Path, source: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UsageError(
            f"{source}: cannot read {path} ({reason}); in a pod, mount a projected token with "
            "audience pipelines.kubeflow.org there"
        ) from None


def _find_ca_file(environment: Mapping[str, str]) -> str | None:
    path = environment.get(ENV_CA)
    if path and not Path(path).is_file():
        raise UsageError(
            f"KUBERT_CA={path}: no such file; name a PEM file with the authority's certificate"
        )
    return path or environment.get("SSL_CERT_FILE") or None


def _check_encrypted(url: str, credential: CredentialKind) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if credential == "none" or parts.scheme == "https":
        return
    is_internal = (
        host == "localhost"
        or "." not in host
        or host.endswith((".svc", ".svc.cluster.local"))
        or _is_loopback(host)
    )
    if not is_internal:
        raise UsageError(
            f"{url}: the {credential} would be sent unencrypted; use the https:// address, or a "
            "port-forward"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _forward_port(namespace: str) -> Iterator[str]:
    """The local address that kubectl forwards to the API server; kubectl ends with the block."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise UsageError("cluster.auth=port-forward needs kubectl; install it, or give --endpoint")
    command = [
        kubectl,
        "port-forward",
        "--namespace",
        namespace,
        "--address",
        "127.0.0.1",
        f"svc/{API_SERVICE}",
        f":{API_PORT}",
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{_read_forwarded_port(process, namespace)}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def _read_forwarded_port(process: subprocess.Popen[str], namespace: str) -> int:
    timer = threading.Timer(PORT_FORWARD_TIMEOUT_SECONDS, process.terminate)
    timer.start()
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        if found := re.search(r"127\.0\.0\.1:(\d+)", line):
            return int(found[1])
        process.terminate()
        errors = process.stderr.read().strip().splitlines()
    finally:
        timer.cancel()
    reason = errors[-1][:300] if errors else f"no answer in {PORT_FORWARD_TIMEOUT_SECONDS:.0f} s"
    raise PortForwardError(
        f"kubectl port-forward to svc/{API_SERVICE} in namespace {namespace} failed: {reason};\n"
        "check the cluster that KUBECONFIG names and cluster.kubeflow_namespace, or give --endpoint"
    )
