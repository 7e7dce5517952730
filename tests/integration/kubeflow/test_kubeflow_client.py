"""The client against failing servers: one clear error each, and bounded retries."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import kfp_server_api
import pytest

from components.errors import USER_ERROR_CODES
from pipeline.kubeflow import submit
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.errors import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerUnavailableError,
)
from pipeline.kubeflow.records import parse_run
from pipeline.kubeflow.transport import REQUEST_RETRIES
from tests.support.fake_kfp.clients import build_submission, new_client
from tests.support.fake_kfp.server import FakeServer, run_server

HEALTH = "GET /apis/v2beta1/healthz"


@pytest.fixture
def api(server: FakeServer) -> KubeflowClient:
    return new_client(server.url)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("refuse", {"status": 429}, id="429"),
        pytest.param("refuse", {"status": 500}, id="500"),
        pytest.param("refuse", {"status": 502}, id="502"),
        pytest.param("refuse", {"status": 503}, id="503"),
        pytest.param("refuse", {"status": 504}, id="504"),
        pytest.param("cut", {}, id="cut"),
        pytest.param("lost", {}, id="lost"),
    ],
)
def test_a_read_is_repeated_until_it_works_but_not_for_ever(
    server: FakeServer, api: KubeflowClient, kind: str, options: dict
) -> None:
    server.add_fault(HEALTH, kind, times=2, **options)
    assert api.get_health().version == "2.17.0"
    assert server.count(HEALTH) == 3
    server.add_fault(HEALTH, kind, **options)
    with pytest.raises(
        ServerUnavailableError,
        match=rf"attempts: {REQUEST_RETRIES.max_attempts}.*healthz should answer",
    ) as caught:
        api.get_health()
    assert caught.value.exit_code not in USER_ERROR_CODES


def test_as_long_as_the_server_asks_for_is_waited(server: FakeServer) -> None:
    waits: list[float] = []
    server.add_fault(HEALTH, "refuse", status=429, retry_after="7", times=1)
    server.add_fault(
        HEALTH, "refuse", status=503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT", times=1
    )
    new_client(server.url, sleep=waits.append).get_health()
    assert waits == [7.0, 0.0]


def test_a_creation_that_is_refused_for_now_says_how_long(
    server: FakeServer, api: KubeflowClient
) -> None:
    server.add_fault("POST", "refuse", status=429, retry_after="3")
    with pytest.raises(RateLimitedError, match="nothing was created") as caught:
        api.create_run({"display_name": "x"})
    assert caught.value.retry_after_seconds == 3.0


def test_a_slow_reply_is_given_up(
    server: FakeServer, api: KubeflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kubeflow.transport.REQUEST_TIMEOUT_SECONDS", (1.0, 0.3))
    server.add_fault(HEALTH, "slow", seconds=1.0, times=1)
    assert api.get_health().version
    server.add_fault(HEALTH, "slow", seconds=1.0)
    started = time.monotonic()
    with pytest.raises(ServerUnavailableError, match="timed out"):
        api.get_health()
    assert time.monotonic() - started < 10


def test_nobody_listens(api: KubeflowClient) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = new_client(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ServerUnavailableError, match="Connection refused"):
            away.get_health()


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(ServerUnavailableError, match=r"kfp\.invalid"):
        new_client("http://kfp.invalid").get_health()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        pytest.param("refuse", {"status": 401}, "could not authenticate the request", id="401"),
        pytest.param(
            "redirect", {}, "could not authenticate the request", id="redirect-to-sign-in"
        ),
        pytest.param(
            "sign-in",
            {},
            "does not answer as a Kubeflow Pipelines API",
            id="page-instead-of-an-answer",
        ),
        pytest.param("refuse", {"status": 403}, "not allowed to", id="403"),
    ],
)
def test_missing_credentials_or_rights_are_an_error_without_retries(
    server: FakeServer, api: KubeflowClient, kind: str, options: dict, message: str
) -> None:
    server.add_fault("GET", kind, **options)
    with pytest.raises(PermissionDeniedError, match=message):
        api.get_health()
    assert len(server.log) == 1
    assert not any("dex" in line for line in server.log)


def test_an_answer_that_is_not_the_api_is_an_error(server: FakeServer) -> None:
    with pytest.raises((PermissionDeniedError, NotFoundError)):
        new_client(f"{server.url}/somewhere").get_health()


def test_https_that_is_not_trusted(tmp_path: Path, server: FakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self_signed(tmp_path)
        context.load_cert_chain(certificate)
        import threading

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(4096)
                        body = b'{"tag_name": "2.17.0"}'
                        secured.sendall(
                            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
                        )
                except OSError:
                    continue

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(PermissionDeniedError, match=r"certificate is not trusted.*KUBERT_CA"):
            new_client(url).get_health()
        assert new_client(url, ca_file=str(certificate)).get_health().version == "2.17.0"


def test_a_token_is_read_anew_for_each_request_and_never_shown(server: FakeServer) -> None:
    tokens = iter(
        [
            "first-canary",
            "second-canary",
            "second-canary",
            "wrong-canary",
            "wrong-canary",
            "wrong-canary",
        ]
    )
    server.token = "first-canary"
    api = new_client(server.url, method="token", read_secret=lambda: next(tokens))
    api.get_health()
    server.token = "second-canary"
    api.get_health()
    with pytest.raises(PermissionDeniedError, match="the token is missing, expired") as caught:
        api.get_health()
        api.get_health()
    assert "canary" not in str(caught.value)


def test_a_cookie(server: FakeServer) -> None:
    server.cookie = "authservice_session=canary"
    assert (
        new_client(server.url, method="cookie", read_secret=lambda: "authservice_session=canary")
        .get_health()
        .version
    )
    with pytest.raises(PermissionDeniedError, match="the cookie has expired"):
        new_client(
            server.url, method="cookie", read_secret=lambda: "authservice_session=old"
        ).get_health()


def test_with_users_the_namespace_is_named(tmp_path: Path) -> None:
    with run_server(multi_user=True) as server:
        api = new_client(
            server.url, namespace="team", method="token", read_secret=lambda: "secret-1"
        )
        api.get_health()
        submit.submit_run(api, build_submission(tmp_path), None)
        assert [item["namespace"] for item in server.state.experiments.values()] == ["team"]
        assert [item["namespace"] for item in server.state.pipelines.values()] == ["team"]
        server.forbidden = "POST /apis/v2beta1/runs"
        with pytest.raises(
            PermissionDeniedError,
            match=r"not allowed to create the run .*not authorized(.|\n)*namespace team",
        ) as caught:
            submit.submit_run(api, build_submission(tmp_path), None)
        assert caught.value.exit_code in USER_ERROR_CODES


def test_a_conflict_is_what_another_made(
    server: FakeServer, api: KubeflowClient, tmp_path: Path
) -> None:
    made = build_submission(tmp_path)
    first = submit.upload_pipeline(api, made)
    # Another uploads between the look and the upload: the look finds nothing, the upload is a
    # conflict.
    looked = server.state.list_page
    misses = iter([True])
    server.state.list_page = lambda key, items, query: looked(  # type: ignore[method-assign]
        key, [] if key == "pipeline_versions" and next(misses, False) else items, query
    )
    assert submit.upload_pipeline(api, made) == first


def test_a_broken_pipeline_is_refused_with_the_servers_reason(
    api: KubeflowClient, tmp_path: Path
) -> None:
    made = build_submission(tmp_path)
    made.package.write_text("no pipeline")
    with pytest.raises(InvalidRequestError, match="invalid v2 pipeline spec"):
        submit.upload_pipeline(api, made)


def self_signed(directory: Path) -> Path:
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = directory / "self-signed.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_run_that_nothing_has_looked_at_yet_is_pending() -> None:
    history = [
        kfp_server_api.V2beta1RuntimeStatus(state="PENDING"),
        kfp_server_api.V2beta1RuntimeStatus(state=None),
    ]
    found = parse_run(kfp_server_api.V2beta1Run(run_id="r", state=None, state_history=history))
    assert (found.state, found.state_history, found.has_ended) == ("PENDING", ("PENDING",), False)
