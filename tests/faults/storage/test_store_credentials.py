"""Credentials that expire in a long run are renewed, and no secret is in an error or a log."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from components.errors import KubertError
from components.storage.store import DeniedError, Store, open_store
from tests.support.stores.fault_proxy import Call, Fault
from tests.support.stores.object_stores import StorageLocation, change_retries

ROOT = Path(__file__).parents[3]
CANARY = "canary-7c1e5b"
EXPIRED = (
    b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code>"
    b"<Message>The provided token has expired.</Message></Error>"
)
CREDENTIAL_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "STORAGE_EMULATOR_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
)


class TokenServer:
    """Issues a new token per request, in the format of `answer`; only the last one is `valid`."""

    def __init__(self, answer: Callable[[str], dict[str, object]]) -> None:
        self.issued = 0
        self.failing = 0
        self._answer = answer

    @property
    def valid(self) -> str:
        return f"{CANARY}-token-{self.issued}"

    def reply(self, path: str) -> tuple[int, dict[str, object]]:
        if "computeMetadata" in path and not path.split("?")[0].endswith("/token"):
            return (404, {}) if "universe" in path else (200, {"email": "default", "scopes": []})
        if self.failing:
            self.failing -= 1
            return 503, {}
        self.issued += 1
        return 200, self._answer(self.valid)


@contextmanager
def serve_tokens(tokens: TokenServer) -> Iterator[str]:
    """The address of a token server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, value = tokens.reply(self.path)
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            # Google's client believes a metadata server only with this.
            self.send_header("Metadata-Flavor", "Google")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is found but what a test gives, and no wait is long."""
    for name in CREDENTIAL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    change_retries(monkeypatch, max_wait_seconds=0.02)


def service_account(path: Path, tokens_at: str) -> Path:
    """A key file of a service account whose tokens come from an address."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    value = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "k@p.example",
        "token_uri": f"{tokens_at}/token",
        "universe_domain": "googleapis.com",
    }
    path.write_text(json.dumps(value))
    return path


def google_token(token: str) -> dict[str, object]:
    return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}


def aws_token(token: str, minutes: float = 120) -> dict[str, object]:
    expiration = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "AccessKeyId": "test-access-key-1",
        "SecretAccessKey": f"{CANARY}-secret",
        "Token": token,
        "Expiration": expiration,
    }


def transfer_objects(store: Store, tmp_path: Path, revoke: Callable[[], None]) -> None:
    """Transfer small and large objects; the token is revoked between and within transfers."""
    (tmp_path / "big").write_bytes(os.urandom(33 * 2**20))
    store.write("k", b"1")
    revoke()
    assert store.create("c", b"mine")
    revoke()
    store.upload(tmp_path / "big", "big")
    revoke()
    assert store.list() == ["big", "c", "k"]
    revoke()
    store.download("big", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == (tmp_path / "big").read_bytes()


@pytest.mark.parametrize("remote", ["gs"], indirect=True)
def test_a_revoked_google_token_is_renewed(
    remote: StorageLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault S6."""
    tokens, parts = TokenServer(google_token), 0

    def strict(call: Call) -> Fault | None:
        nonlocal parts
        if len(call.body) > 2**20:
            parts += 1
            tokens.issued += parts == 2
        return (
            None
            if call.headers.get("authorization") == f"Bearer {tokens.valid}"
            else Fault(status=401, reply=b"{}")
        )

    def revoke() -> None:
        tokens.issued += 1

    with serve_tokens(tokens) as address, remote.through(strict) as proxy:
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
        monkeypatch.setenv("API_ENDPOINT_OVERRIDE", proxy.address)
        monkeypatch.setenv(
            "GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path / "key.json", address))
        )
        transfer_objects(open_store(remote.uri), tmp_path, revoke)
        tokens.failing = 2
        revoke()
        assert open_store(remote.uri).read_bytes("k") == b"1"
    assert tokens.issued >= 11


RUN = """
import sys
from components.storage.store import open_store
store = open_store(sys.argv[1])
for number in range(8):
    store.write(f"k{number}", b"1")
    assert store.read_bytes(f"k{number}") == b"1"
print(len(store.list()))
"""


@pytest.mark.parametrize("remote", ["gs"], indirect=True)
def test_a_pods_google_identity_is_renewed(
    remote: StorageLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault S6."""
    tokens = TokenServer(google_token)

    def strict(call: Call) -> Fault | None:
        tokens.issued += len(proxy.calls) % 7 == 0
        return (
            None
            if call.headers.get("authorization") == f"Bearer {tokens.valid}"
            else Fault(status=401)
        )

    with serve_tokens(tokens) as address, remote.through(strict) as proxy:
        for name in ("STORAGE_EMULATOR_HOST", "NO_GCE_CHECK"):
            monkeypatch.delenv(name)
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
            monkeypatch.setenv(name, address.removeprefix("http://"))
        monkeypatch.setenv("API_ENDPOINT_OVERRIDE", proxy.address)
        run = subprocess.run(
            [sys.executable, "-c", RUN, remote.uri],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=90,
        )
    assert (run.stdout, run.stderr) == ("8\n", "")
    assert tokens.issued > 6


@pytest.mark.parametrize("minutes", [120, 5], ids=["before-its-time", "at-its-time"])
@pytest.mark.parametrize("remote", ["s3"], indirect=True)
def test_an_expired_aws_token_is_renewed(
    minutes: float, remote: StorageLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault S6."""
    tokens, parts = TokenServer(lambda token: aws_token(token, minutes)), 0

    def strict(call: Call) -> Fault | None:
        nonlocal parts
        if len(call.body) > 2**20 and minutes > 100:
            parts += 1
            tokens.issued += parts == 2
        return (
            None
            if call.headers.get("X-Amz-Security-Token") == tokens.valid
            else Fault(status=400, reply=EXPIRED)
        )

    def revoke() -> None:
        tokens.issued += minutes > 100

    with serve_tokens(tokens) as address, remote.through(strict) as proxy:
        use_container_credentials(monkeypatch, address)
        store = open_store(remote.uri)
        if minutes < 100:
            # A token that has less than ten minutes left is renewed before each call; the store
            # never sees an old one.
            store.write("k", b"1")
            store.write("k", b"2")
            assert tokens.issued >= 3
            assert len({call.headers["X-Amz-Security-Token"] for call in proxy.calls}) == len(
                proxy.calls
            )
        else:
            transfer_objects(store, tmp_path, revoke)
            assert tokens.issued >= 10


@pytest.mark.parametrize("remote", ["s3"], indirect=True)
def test_an_expired_token_that_is_not_renewed_fails_at_once(
    remote: StorageLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault S6."""
    for name in CREDENTIAL_VARIABLES[:3]:
        monkeypatch.setenv(name, f"{CANARY}-{name}")
    with remote.through(lambda call: Fault(status=400, reply=EXPIRED)) as proxy:
        with pytest.raises(
            DeniedError, match=r"k: access refused \(ExpiredToken: The provided token has expired"
        ):
            open_store(remote.uri).write("k", b"1")
        assert len(proxy.calls) == 1


def use_container_credentials(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for name in CREDENTIAL_VARIABLES[:3]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/credentials")


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://bucket/x", "minio://mlpipeline/x"])
def test_missing_credentials_fail_at_once_with_the_remedy(uri: str) -> None:
    with pytest.raises(DeniedError, match=rf"^{uri}.*(AWS_ACCESS_KEY_ID|gcloud auth)"):
        open_store(uri).size("k")


@pytest.mark.parametrize("remote", ["gs", "s3"], indirect=True)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_no_secret_is_in_an_error_or_a_log(
    status: int,
    remote: StorageLocation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Fault A6."""
    tokens = TokenServer(google_token)
    caplog.set_level(logging.INFO)

    def echo_headers(call: Call) -> Fault:
        headers = " ".join(f"{name}: {value}" for name, value in call.headers.items())
        message = f"<Message>{headers} {CANARY}-AWS_SECRET_ACCESS_KEY</Message>"
        xml = f"<?xml version='1.0'?><Error><Code>X</Code>{message}</Error>"
        return Fault(
            status=status,
            reply=json.dumps({"error": {"message": headers}}).encode()
            if remote.name == "gs"
            else xml.encode(),
        )

    with serve_tokens(tokens) as address, remote.through(echo_headers) as proxy:
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        monkeypatch.setenv("API_ENDPOINT_OVERRIDE", proxy.address)
        monkeypatch.setenv(
            "GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path / "key.json", address))
        )
        for name in CREDENTIAL_VARIABLES[:3]:
            monkeypatch.setenv(name, f"{CANARY}-{name}")
        texts = [caplog.text]
        for act in (
            Store.list,
            lambda store: store.write("k", b"1"),
            lambda store: store.download("k", tmp_path / "down"),
        ):
            with pytest.raises(KubertError) as error:
                act(open_store(remote.uri))
            texts += [str(error.value), *traceback.format_exception(error.value)]
    assert any(remote.uri in text for text in texts)
    assert [text for text in texts if CANARY in text] == []


@pytest.mark.parametrize("remote", ["s3"], indirect=True)
def test_a_password_in_the_endpoint_is_not_in_the_error(
    remote: StorageLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault A6."""
    for name in CREDENTIAL_VARIABLES[:2]:
        monkeypatch.setenv(name, "some-key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{CANARY}@127.0.0.1:1")
    with pytest.raises(KubertError, match=remote.uri) as error:
        open_store(remote.uri).size("k")
    assert CANARY not in str(error.value)
