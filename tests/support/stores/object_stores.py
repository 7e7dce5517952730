"""Stores for tests: a directory, a GCS server, two S3 servers; unavailable ones are skipped.

`gs` is fake-gcs-server and `seaweedfs` is SeaweedFS, which Kubeflow Pipelines brings along:
programs found by KUBERT_TEST_GCS_SERVER and KUBERT_TEST_SEAWEEDFS, or on PATH. `s3` is moto, which
comes with the development environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.storage import gcs, store
from tests.support.stores.fault_proxy import Proxy, Rule, start_proxy

BUCKET = "kubert-test"
KEY, SECRET = "test-access-key-1", "canary-secret-key-1"
REMOTE = ("gs", "s3", "seaweedfs")
PROGRAMS = {
    "gs": ("KUBERT_TEST_GCS_SERVER", "fake-gcs-server"),
    "seaweedfs": ("KUBERT_TEST_SEAWEEDFS", "weed"),
}
START_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class StorageLocation:
    """An empty prefix of one store; `through` inserts a proxy before its server."""

    name: str
    uri: str
    address: str
    monkeypatch: pytest.MonkeyPatch

    @contextmanager
    def through(self, rule: Rule = lambda call: None) -> Iterator[Proxy]:
        with start_proxy(self.address, rule) as proxy:
            set_server_address(self.name, proxy.address, self.monkeypatch)
            yield proxy
        set_server_address(self.name, self.address, self.monkeypatch)


def set_server_address(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables by which the product finds the server."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST" if name == "gs" else "AWS_ENDPOINT_URL", address)


@pytest.fixture(scope="session")
def server_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The address of a server by name, started at the first question."""
    running: dict[str, str] = {}
    with ExitStack() as stack:

        def address(name: str) -> str:
            if name not in running:
                running[name] = stack.enter_context(STARTS[name](tmp_path_factory.mktemp(name)))
            return running[name]

        yield address


@pytest.fixture(params=["local", *REMOTE])
def storage_location(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server_address: Callable[[str], str],
) -> StorageLocation:
    """Each of the stores in turn."""
    name = request.param
    if name == "local":
        return StorageLocation(name, str(tmp_path / "store"), "", monkeypatch)
    return new_remote_location(name, server_address(name), monkeypatch)


@pytest.fixture(params=REMOTE)
def remote(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    server_address: Callable[[str], str],
) -> StorageLocation:
    """Each of the servers in turn."""
    return new_remote_location(request.param, server_address(request.param), monkeypatch)


def new_remote_location(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> StorageLocation:
    """A new prefix on the server at an address."""
    for variable in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL_S3",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AWS_REGION",
    ):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(variable, value)
    set_server_address(name, address, monkeypatch)
    scheme = {"gs": "gs", "s3": "s3", "seaweedfs": "minio"}[name]
    return StorageLocation(name, f"{scheme}://{BUCKET}/{uuid.uuid4().hex}", address, monkeypatch)


@contextmanager
def _moto(directory: Path) -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("moto_server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = f"http://127.0.0.1:{int(process.stdout.readline())}"
            _call("PUT", f"{address}/{BUCKET}")
            yield address
        finally:
            process.kill()


@contextmanager
def _fake_gcs(directory: Path) -> Iterator[str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    options = [
        "-scheme",
        "http",
        "-host",
        "127.0.0.1",
        "-port",
        str(port),
        "-public-host",
        f"127.0.0.1:{port}",
        "-backend",
        "memory",
    ]
    with _running([_program("gs"), *options], directory, f"{address}/storage/v1/b?project=p"):
        _call("POST", f"{address}/storage/v1/b?project=p", f'{{"name": "{BUCKET}"}}'.encode())
        yield address


@contextmanager
def _seaweedfs(directory: Path) -> Iterator[str]:
    program = _program("seaweedfs")
    ports = {part: (free_port(), free_port()) for part in ("master", "volume", "filer", "s3")}
    chosen = [
        f"-{part}.port{kind}={port}"
        for part, pair in ports.items()
        for kind, port in zip(("", ".grpc"), pair, strict=True)
    ]
    s3, master, filer = (ports[part][0] for part in ("s3", "master", "filer"))
    keys = {"accessKey": KEY, "secretKey": SECRET}
    identity = {"name": "t", "credentials": [keys], "actions": ["Admin"]}
    (directory / "keys.json").write_text(json.dumps({"identities": [identity]}))
    options = [
        "server",
        f"-dir={directory}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        f"-s3.config={directory / 'keys.json'}",
        "-master.volumePreallocate=false",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=20",
        *chosen,
    ]
    with _running([program, *options], directory, f"http://127.0.0.1:{s3}/status"):
        shell = [
            program,
            "shell",
            f"-master=127.0.0.1:{master}.{ports['master'][1]}",
            f"-filer=127.0.0.1:{filer}.{ports['filer'][1]}",
        ]
        subprocess.run(
            shell,
            input=f"s3.bucket.create --name {BUCKET}\n",
            text=True,
            check=True,
            capture_output=True,
            timeout=START_TIMEOUT_SECONDS,
        )
        yield f"http://127.0.0.1:{s3}"


STARTS = {"gs": _fake_gcs, "s3": _moto, "seaweedfs": _seaweedfs}


def _program(name: str) -> str:
    variable, command = PROGRAMS[name]
    program = os.environ.get(variable) or shutil.which(command)
    if program is None:
        pytest.skip(f"no {name} server: {command} is not on PATH and {variable} is not set")
    return program


@contextmanager
def _running(command: list[str], directory: Path, probe: str) -> Iterator[None]:
    log = directory / "log"
    with (
        open(log, "wb") as stream,
        subprocess.Popen(command, stdout=stream, stderr=stream, cwd=directory) as process,
    ):
        try:
            deadline = time.monotonic() + START_TIMEOUT_SECONDS
            while not _answers(probe):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text(
                    errors="replace"
                )[-2000:]
                time.sleep(0.1)
            yield
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        _call("GET", url)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def _call(method: str, url: str, data: bytes | None = None) -> None:
    request = urllib.request.Request(
        url, data=data, method=method, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def change_retries(monkeypatch: pytest.MonkeyPatch, **changes: float) -> None:
    """Change fields of the retry policy that stores use until the test ends."""
    for module in (store, gcs):
        policy = dataclasses.replace(module.STORAGE_RETRIES, **changes)
        monkeypatch.setattr(module, "STORAGE_RETRIES", policy)
