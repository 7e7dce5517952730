from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.artifacts import manifest, transfer
from components.artifacts.artifact import verify_artifact
from components.artifacts.manifest import MANIFEST_FILENAME
from components.errors import DataError, KubertError
from components.storage.store import open_store
from tests.support.releases.plain_artifact import plain_artifact


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store/run/checkpoint"


def test_what_is_pushed_can_be_fetched(uri: str, tmp_path: Path) -> None:
    uploaded = transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), uri)
    assert transfer.find_remote_manifest(uri, "checkpoint") == uploaded
    assert transfer.download_artifact(uri, tmp_path / "far" / "b", "checkpoint") == uploaded
    assert (
        verify_artifact(tmp_path / "far" / "b", "checkpoint")
        == uploaded
        == manifest.read_manifest(tmp_path / "a")
    )
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["b"]
    assert (tmp_path / "far" / "b").stat().st_mode & 0o555 == 0o555


def test_nothing_is_there_at_first(uri: str, tmp_path: Path) -> None:
    assert transfer.find_remote_manifest(uri, "checkpoint") is None
    with pytest.raises(DataError, match="not a finished checkpoint"):
        transfer.download_artifact(uri, tmp_path / "b", "checkpoint")
    assert not (tmp_path / "b").exists()


def test_a_second_push_changes_nothing(uri: str, tmp_path: Path) -> None:
    source = plain_artifact(tmp_path / "a", "a")
    transfer.upload_artifact(source, uri)
    stored = tmp_path / "store" / "run" / "checkpoint"
    before = {path: path.stat().st_ino for path in stored.rglob("*")}
    transfer.upload_artifact(source, uri)
    assert {path: path.stat().st_ino for path in stored.rglob("*")} == before


def test_another_artifact_replaces_every_file_of_the_old_one(uri: str, tmp_path: Path) -> None:
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a", files=("one", "both")), uri)
    uploaded = transfer.upload_artifact(
        plain_artifact(tmp_path / "b", "b", files=("both", "two")), uri
    )
    assert open_store(uri).list() == ["both", MANIFEST_FILENAME, "two"]
    assert transfer.download_artifact(uri, tmp_path / "c", "checkpoint") == uploaded


def test_a_push_leaves_other_objects_alone(uri: str, tmp_path: Path) -> None:
    store = open_store(uri)
    store.write("notes.txt", b"mine")
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), uri)
    transfer.download_artifact(uri, tmp_path / "b", "checkpoint")
    assert store.read_bytes("notes.txt") == b"mine"
    assert not (tmp_path / "b" / "notes.txt").exists()


def test_fetch_leaves_this_artifact_alone_and_replaces_another_or_a_damaged_one(
    uri: str, tmp_path: Path
) -> None:
    uploaded = transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), uri)
    target = plain_artifact(tmp_path / "b", "b")
    transfer.download_artifact(uri, target, "checkpoint")
    inode = target.stat().st_ino
    transfer.download_artifact(uri, target, "checkpoint")
    assert target.stat().st_ino == inode
    (target / "vocab.txt").write_text("damaged")
    assert (
        transfer.download_artifact(uri, target, "checkpoint") == verify_artifact(target) == uploaded
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "store"]


def test_an_empty_directory_is_filled(uri: str, tmp_path: Path) -> None:
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), uri)
    (tmp_path / "b").mkdir()
    transfer.download_artifact(uri, tmp_path / "b", "checkpoint")
    verify_artifact(tmp_path / "b", "checkpoint")


def test_fetch_refuses_to_replace_anything_else(uri: str, tmp_path: Path) -> None:
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), uri)
    plain_artifact(tmp_path / "shards", "s", kind="token_shards")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / MANIFEST_FILENAME).write_text('{"name": "a web site"}')
    (tmp_path / "plain").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for name in ("shards", "site", "plain", "link"):
        with pytest.raises(DataError, match="holds something else than a checkpoint"):
            transfer.download_artifact(uri, tmp_path / name, "checkpoint")
    assert (tmp_path / "site" / MANIFEST_FILENAME).read_text() == '{"name": "a web site"}'


def test_another_kind_is_refused(uri: str, tmp_path: Path) -> None:
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), uri)
    for call in (
        lambda: transfer.download_artifact(uri, tmp_path / "b", "token_shards"),
        lambda: transfer.find_remote_manifest(uri, "token_shards"),
    ):
        with pytest.raises(DataError, match=r"a checkpoint of format 1; .* reads a token_shards"):
            call()


def test_what_does_not_match_its_manifest_is_not_pushed(uri: str, tmp_path: Path) -> None:
    source = plain_artifact(tmp_path / "a", "a")
    (source / "vocab.txt").write_text("changed")
    with pytest.raises(DataError, match=r"vocab\.txt"):
        transfer.upload_artifact(source, uri)
    (tmp_path / "open").mkdir()
    with pytest.raises(DataError, match="not a finished artifact"):
        transfer.upload_artifact(tmp_path / "open", uri)
    assert open_store(uri).list() == []


def test_too_small_a_disk_is_an_error_before_any_download(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), uri)
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr("components.artifacts.transfer.shutil.disk_usage", lambda path: usage)
    with pytest.raises(KubertError, match="bytes are needed, 10 are free"):
        transfer.download_artifact(uri, tmp_path / "b" / "c", "checkpoint")
    assert list((tmp_path / "b").iterdir()) == []


def test_a_parent_that_cannot_be_made_is_named(uri: str, tmp_path: Path) -> None:
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), uri)
    (tmp_path / "plain").write_text("x")
    with pytest.raises(KubertError, match=r"plain: .*checkpoint is put together there"):
        transfer.download_artifact(uri, tmp_path / "plain" / "checkpoint", "checkpoint")


def test_a_download_that_another_process_finishes_first_leaves_one_copy(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = plain_artifact(tmp_path / "a", "a")
    uploaded = transfer.upload_artifact(source, uri)
    target = tmp_path / "far" / "b"

    def replace_after_another_process(staging: Path, output: Path) -> None:
        if output == target:
            shutil.copytree(source, target)
        Path(staging).rename(output)

    monkeypatch.setattr("components.storage.atomic_files.os.replace", replace_after_another_process)
    assert transfer.download_artifact(uri, target, "checkpoint") == uploaded
    assert [path.name for path in target.parent.iterdir()] == ["b"]
