"""What every back end promises. KUBERT_TEST_STORES (URIs, separated by spaces) adds real servers to the local directory."""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path

import pytest

from components.artifacts.manifest import FileEntry, file_sha256
from components.artifacts.store import CorruptError, MissingError, Store, StoreError, is_remote, open_store, parse
from components.errors import ConfigError

REAL = os.environ.get("KUBERT_TEST_STORES", "").split()


@pytest.fixture(params=["local", *REAL])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store") if request.param == "local" else f"{request.param}/{uuid.uuid4().hex}")


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.list() == [] == store.list("news")
    assert not store.exists("news/1/manifest.json")
    store.delete("news/1/manifest.json")
    store.clear("news")
    with pytest.raises(MissingError, match="news/1/manifest"):
        store.read_bytes("news/1/manifest.json")


def test_what_goes_up_comes_down(store: Store, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(bytes(range(256)) * 5000)
    store.upload(tmp_path / "up", "news/1/variables/data")
    store.download("news/1/variables/data", tmp_path / "new" / "down")
    assert (tmp_path / "new" / "down").read_bytes() == (tmp_path / "up").read_bytes()
    assert store.size("news/1/variables/data") == 1_280_000


def test_list_names_what_is_below_a_directory(store: Store) -> None:
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


def test_create_is_told_to_exactly_one_of_many(store: Store) -> None:
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


def test_create_of_equal_bytes_is_told_to_the_first_only(store: Store) -> None:
    assert store.create("claim", b"same")
    assert not store.create("claim", b"same")


def test_a_download_that_is_not_what_the_manifest_says_leaves_the_old_file(store: Store, tmp_path: Path) -> None:
    store.write("k", b"swapped")
    (tmp_path / "good").write_bytes(b"genuine")
    expected = FileEntry(size=7, sha256=file_sha256(tmp_path / "good"))
    with pytest.raises(CorruptError, match="SHA-256"):
        store.download("k", tmp_path / "good", expected)
    with pytest.raises(CorruptError, match="7 bytes, the manifest says 3"):
        store.download("k", tmp_path / "good", FileEntry(size=3, sha256=expected.sha256))
    assert (tmp_path / "good").read_bytes() == b"genuine"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["good"]


def test_read_bytes_has_a_limit(store: Store) -> None:
    store.write("k", b"x" * 11)
    with pytest.raises(CorruptError, match="11 bytes where at most 10"):
        store.read_bytes("k", limit=10)


def test_a_local_store_follows_no_link_below_it(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"s")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "link").symlink_to(tmp_path / "outside")
    store = open_store(str(tmp_path / "store"))
    assert store.list() == []
    for call in (lambda: store.read_bytes("link/secret"), lambda: store.write("link/new", b"x"), lambda: store.exists("link/secret")):
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
        pytest.param("file:///srv/models", ("file", "", "/srv/models"), id="file"),
        pytest.param("/srv/me@home/models", ("file", "", "/srv/me@home/models"), id="path"),
    ],
)
def test_places(uri: str, meant: tuple[str, str, str]) -> None:
    assert parse(uri) == meant
    assert is_remote(uri) == (meant[0] != "file")


def test_a_relative_path_is_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("models").uri("news") == f"{tmp_path}/models/news"


@pytest.mark.parametrize("key", ["../x", "a/../b", "/etc/passwd", "a//b", "a\\b", "a/./b", "a\nb", "a@b", "a?b", "", "x" * 1001])
def test_keys_that_are_no_plain_names_are_refused(key: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with pytest.raises(ConfigError, match="not a valid name"):
        store.create(key, b"x")
    with pytest.raises(ConfigError, match="not a valid name"):
        store.download(key, tmp_path / "x")
