"""S3, S5, E2 and A1 for artifacts on their way to a store and from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import manifest, transfer
from components.artifacts.artifact import verify_artifact
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest
from components.errors import DataError
from components.storage.store import open_store
from tests.support.releases.plain_artifact import plain_artifact
from tests.support.stores.faulty_backend import FaultyBackend, Hook, build_store

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Crash(BaseException):
    """The process is gone: nothing after this line runs."""


def at_write(number: int) -> Hook:
    """A hook that crashes at the write with this number."""
    left = number

    def hook(operation: str, key: str) -> None:
        nonlocal left
        if operation in ("put", "delete"):
            left -= 1
            if left < 0:
                raise Crash

    return hook


def push_over(backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(transfer, "open_store", lambda uri: build_store(backend))
        transfer.upload_artifact(directory, "gs://double/models")


def readable(root: Path, target: Path) -> Manifest | None:
    """What a reader gets: a whole artifact, or none; anything else fails the test."""
    found = transfer.find_remote_manifest(str(root), "checkpoint")
    if found is not None:
        transfer.download_artifact(str(root), target, "checkpoint")
        assert verify_artifact(target) == found
    return found


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("old", [True, False], ids=["over-another", "new"])
def test_an_artifact_upload_that_fails_at_any_write_is_invisible_and_can_be_repeated(
    when: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults S3 and E2."""
    first = plain_artifact(tmp_path / "first", "first", files=("both", "gone"))
    second = plain_artifact(tmp_path / "second", "second")
    for number in range(20):
        root = tmp_path / f"store-{number}"
        if old:
            transfer.upload_artifact(first, str(root))
        before = at_write(number)
        backend = (
            FaultyBackend(root, before=before)
            if when == "before"
            else FaultyBackend(root, after=before)
        )
        try:
            push_over(backend, monkeypatch, second)
            crashed = False
        except Crash:
            crashed = True
        seen = readable(root, tmp_path / f"pulled-{number}")
        assert seen in (None, manifest.read_manifest(first), manifest.read_manifest(second))
        transfer.upload_artifact(second, str(root))
        assert readable(root, tmp_path / f"healed-{number}") == manifest.read_manifest(second)
        if not crashed:
            assert number >= 5, "the crash points were not reached"
            return
    raise AssertionError("never ended")


def change(root: Path, act: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads((root / MANIFEST_FILENAME).read_text())
    act(value)
    (root / MANIFEST_FILENAME).write_text(json.dumps(value))


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/x",
        "./x",
        "a//b",
        "a/",
        "..",
        "a\\b",
        "C:x",
        "a\nb",
        "",
        "manifest.json",
        "Manifest.JSON",
        "VOCAB.txt",
        "weights",
        "vocab.txt/x",
        "x" * 501,
    ],
)
def test_file_names_that_leave_the_directory_or_clash_are_refused(
    name: str, tmp_path: Path
) -> None:
    """Fault A1."""
    root = tmp_path / "store"
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), str(root))
    change(root, lambda value: value["files"].update({name: {"size": 0, "sha256": EMPTY}}))
    before = sorted(tmp_path.rglob("*"))
    for call in (
        lambda: transfer.download_artifact(str(root), tmp_path / "far" / "b", "checkpoint"),
        lambda: transfer.find_remote_manifest(str(root), "checkpoint"),
    ):
        with pytest.raises(DataError, match="its manifest names"):
            call()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("size", [2**40, 10**30], ids=["a-terabyte", "beyond-64-bit"])
def test_impossible_sizes_are_refused(size: int, tmp_path: Path) -> None:
    """Fault A1."""
    root = tmp_path / "store"
    transfer.upload_artifact(plain_artifact(tmp_path / "a", "a"), str(root))
    change(root, lambda value: value["files"]["vocab.txt"].update(size=size))
    with pytest.raises(DataError, match="this is not a checkpoint"):
        transfer.download_artifact(str(root), tmp_path / "far" / "b", "checkpoint")
    assert not (tmp_path / "far").exists()


def swap(root: Path) -> None:
    (root / "vocab.txt").write_text("x: vocab.txt")


def cut(root: Path) -> None:
    (root / "vocab.txt").write_text("a")


def remove(root: Path) -> None:
    (root / "vocab.txt").unlink()


def damage(root: Path) -> None:
    (root / MANIFEST_FILENAME).write_text((root / MANIFEST_FILENAME).read_text()[:-20])


@pytest.mark.parametrize("tamper", [swap, cut, remove, damage], ids=lambda act: act.__name__)
def test_an_artifact_changed_in_the_store_is_refused_until_it_is_uploaded_again(
    tamper: Callable[[Path], None], tmp_path: Path
) -> None:
    """Faults S5 and A2."""
    root = tmp_path / "store"
    source = plain_artifact(tmp_path / "a", "a")
    transfer.upload_artifact(source, str(root))
    tamper(root)
    with pytest.raises(DataError, match=str(root)):
        transfer.download_artifact(str(root), tmp_path / "far" / "b", "checkpoint")
    assert list((tmp_path / "far").glob("*") if (tmp_path / "far").exists() else ()) == []
    if tamper is not swap:
        transfer.upload_artifact(source, str(root))
        transfer.download_artifact(str(root), tmp_path / "far" / "b", "checkpoint")


def test_a_symbolic_link_is_not_uploaded(tmp_path: Path) -> None:
    """Fault A2."""
    source = plain_artifact(tmp_path / "a", "a")
    (source / "vocab.txt").rename(tmp_path / "outside")
    (source / "vocab.txt").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="no links"):
        transfer.upload_artifact(source, str(tmp_path / "store"))
    assert open_store(str(tmp_path / "store")).list() == []
