"""What every back end promises, on a local directory and on real servers."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from components.errors import ConfigError
from components.storage.atomic_files import FileEntry, file_sha256
from components.storage.s3 import S3Backend
from components.storage.store import CorruptError, MissingError, Store, StoreError, open_store
from components.storage.uri import is_remote_uri, parse_uri
from tests.support.stores.object_stores import KEY, SECRET, StorageLocation


@pytest.fixture
def store(storage_location: StorageLocation) -> Store:
    return open_store(storage_location.uri)


def test_an_empty_store_has_no_objects(store: Store) -> None:
    assert store.list() == [] == store.list("news")
    assert not store.exists("news/1/manifest.json")
    store.delete("news/1/manifest.json")
    store.clear("news")
    with pytest.raises(MissingError, match="news/1/manifest"):
        store.read_bytes("news/1/manifest.json")


def test_an_uploaded_file_is_downloaded_again(store: Store, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(bytes(range(256)) * 5000)
    store.upload(tmp_path / "up", "news/1/variables/data")
    store.download("news/1/variables/data", tmp_path / "new" / "down")
    assert (tmp_path / "new" / "down").read_bytes() == (tmp_path / "up").read_bytes()
    assert store.size("news/1/variables/data") == 1_280_000


def test_list_returns_the_keys_below_a_directory(store: Store) -> None:
    for key in ("a/2/x", "a/1/y", "ab/1/z", "top"):
        store.write(key, b"1")
    assert store.list("a") == ["a/1/y", "a/2/x"] == store.list("a/")
    assert store.list() == ["a/1/y", "a/2/x", "ab/1/z", "top"]


def test_write_replaces_and_delete_removes(store: Store) -> None:
    store.write("k", b"old")
    store.write("k", b"new")
    assert store.read_bytes("k") == b"new"
    store.delete("k")
    assert not store.exists("k")


def test_clear_removes_only_what_is_below(store: Store) -> None:
    for key in ("a/1/x", "a/1/y/z", "a/10/x"):
        store.write(key, b"1")
    store.clear("a/1")
    assert store.list() == ["a/10/x"]


def test_exactly_one_of_many_callers_creates_an_object(store: Store) -> None:
    start, winners = threading.Barrier(8), []

    def compete(number: int) -> None:
        start.wait()
        if store.create("claim", f"caller {number}".encode()):
            winners.append(number)

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert store.read_bytes("claim") == f"caller {winners[0]}".encode()


def test_creating_equal_bytes_again_is_false(store: Store) -> None:
    assert store.create("claim", b"same")
    assert not store.create("claim", b"same")


def test_a_download_that_does_not_match_the_manifest_keeps_the_old_file(
    store: Store, tmp_path: Path
) -> None:
    store.write("k", b"swapped")
    (tmp_path / "good").write_bytes(b"genuine")
    expected = FileEntry(size=7, sha256=file_sha256(tmp_path / "good"))
    with pytest.raises(CorruptError, match="SHA-256"):
        store.download("k", tmp_path / "good", expected)
    with pytest.raises(CorruptError, match="7 bytes, the manifest says 3"):
        store.download("k", tmp_path / "good", FileEntry(size=3, sha256=expected.sha256))
    assert (tmp_path / "good").read_bytes() == b"genuine"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["good"]


def test_a_file_uploaded_in_parts_is_downloaded_completely(store: Store, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(os.urandom(33 * 2**20 + 1))
    store.upload(tmp_path / "up", "weights")
    assert store.size("weights") == 33 * 2**20 + 1
    store.download(
        "weights",
        tmp_path / "down",
        FileEntry(size=33 * 2**20 + 1, sha256=file_sha256(tmp_path / "up")),
    )
    assert store.list() == ["weights"]


def test_an_empty_file(store: Store, tmp_path: Path) -> None:
    store.write("empty", b"")
    assert (store.size("empty"), store.read_bytes("empty")) == (0, b"")


@pytest.mark.slow
def test_list_goes_on_after_a_thousand_keys(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.write(f"many/{number:04}", b"1"), range(1010)))
    assert store.list("many") == [f"many/{number:04}" for number in range(1010)]
    store.clear("many")
    assert store.list() == []


def test_names_that_need_quoting(store: Store) -> None:
    keys = sorted(["a b/c+d", "ü/ß", "100%/x=y&z", "k~(1)'!*"])
    for key in keys:
        store.write(key, key.encode())
    assert store.list() == keys
    assert [store.read_bytes(key).decode() for key in keys] == keys


def test_read_bytes_has_a_limit(store: Store) -> None:
    store.write("k", b"x" * 11)
    with pytest.raises(CorruptError, match="11 bytes, expected at most 10"):
        store.read_bytes("k", limit=10)


def test_a_local_store_follows_no_link_below_it(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"s")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "link").symlink_to(tmp_path / "outside")
    store = open_store(str(tmp_path / "store"))
    assert store.list() == []
    for call in (
        lambda: store.read_bytes("link/secret"),
        lambda: store.write("link/new", b"x"),
        lambda: store.exists("link/secret"),
    ):
        with pytest.raises(StoreError, match="symbolic link"):
            call()
    assert not (tmp_path / "outside" / "new").exists()


def test_an_unfinished_local_upload_is_not_listed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write("a/k", b"1")
    (tmp_path / "a" / ".part-dead").write_bytes(b"half")
    assert store.list() == ["a/k"]


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        pytest.param("gs://bucket", ("gs", "bucket", ""), id="bucket"),
        pytest.param("gs://my.bucket-1/a/b/", ("gs", "my.bucket-1", "a/b"), id="prefix"),
        pytest.param("s3://bucket/models", ("s3", "bucket", "models"), id="s3"),
        pytest.param(
            "minio://mlpipeline/v2/artifacts/p/1",
            ("minio", "mlpipeline", "v2/artifacts/p/1"),
            id="kubeflow",
        ),
        pytest.param("file:///srv/models", ("file", "", "/srv/models"), id="file"),
        pytest.param("/srv/me@home/models", ("file", "", "/srv/me@home/models"), id="path"),
    ],
)
def test_parse_uri(uri: str, meant: tuple[str, str, str]) -> None:
    assert parse_uri(uri) == meant
    assert is_remote_uri(uri) == (meant[0] != "file")


def test_a_relative_path_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("models").uri("news") == f"{tmp_path}/models/news"


@pytest.mark.parametrize(
    "key",
    [
        "../x",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "a\\b",
        "a/./b",
        "a\nb",
        "a@b",
        "a?b",
        "",
        "x" * 1001,
    ],
)
def test_keys_that_are_not_plain_names_are_refused(key: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with pytest.raises(ConfigError, match="not a valid name"):
        store.create(key, b"x")
    with pytest.raises(ConfigError, match="not a valid name"):
        store.download(key, tmp_path / "x")


def capture_kubeflow_request(
    monkeypatch: pytest.MonkeyPatch, **environment: str
) -> tuple[str, str]:
    """URL and Authorization header of a request to minio://mlpipeline, which is not sent."""
    for name in (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        **environment,
    }.items():
        monkeypatch.setenv(name, value)
    requests: list[tuple[str, str]] = []

    class RequestStoppedError(Exception):
        pass

    def stop_request(request: Any, **_: object) -> None:
        requests.append((request.url, request.headers["Authorization"].decode()))
        raise RequestStoppedError

    client = S3Backend("mlpipeline", "v2", kubeflow=True)._client
    client.meta.events.register("before-send.s3", stop_request)
    with pytest.raises(RequestStoppedError):
        client.head_object(Bucket="mlpipeline", Key="v2/k")
    return requests[0]


def test_minio_defaults_to_the_object_store_of_kubeflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, signed = capture_kubeflow_request(monkeypatch)
    assert url == "http://seaweedfs.kubeflow:9000/mlpipeline/v2/k"
    assert f"Credential={KEY}/" in signed
    assert "/minio/s3/" in signed


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_minio_follows_the_endpoint_in_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, signed = capture_kubeflow_request(
        monkeypatch, **{variable: "http://minio-service.team:9000", "AWS_REGION": "eu-west-1"}
    )
    assert url == "http://minio-service.team:9000/mlpipeline/v2/k"
    assert "/eu-west-1/s3/" in signed


def test_a_query_is_refused_and_the_message_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="a query is refused; set AWS_ENDPOINT_URL") as error:
        open_store("s3://bucket/v2?region=eu-west-1&endpoint=canary.example.com")
    assert "canary" not in str(error.value)
