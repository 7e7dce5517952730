"""Releases that were made or changed with bad intent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components import registry
from components.artifacts.manifest import MANIFEST_FILENAME
from components.artifacts.release import open_release
from components.errors import ConfigError, DataError
from components.storage.store import Store, open_store
from tests.support.releases.release_directories import release_directory

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store(str(tmp_path / "store"))
    registry.publish(
        open_release(release_directory(tmp_path / "source", "genuine")), opened, "news", "key"
    )
    return opened


def change_manifest(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = tmp_path / "store" / "news" / "1" / MANIFEST_FILENAME
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def snapshot(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


@pytest.mark.parametrize(
    "name",
    [
        "../x", "a/../../x", "/etc/x", "./x", "a//b", "a/", "..", "a\\b", "C:x", "a\nb", "a\x00b",
        "", "manifest.json", "Manifest.JSON", "SAVED_MODEL.pb", "variables", "saved_model.pb/x",
        "Variables/variables.INDEX", "x" * 501, "~/x@y",
    ],
)  # fmt: skip
def test_file_names_outside_the_directory_or_that_clash_are_refused(
    name: str, store: Store, tmp_path: Path
) -> None:
    """Fault A1."""
    change_manifest(
        tmp_path, lambda value: value["files"].update({name: {"size": 0, "sha256": EMPTY}})
    )
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match="its manifest names"):
        registry.pull_version(store, "news", 1, tmp_path / "served" / "1")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("size", [2**40, 10**30], ids=["a-terabyte", "beyond-64-bit"])
def test_impossible_sizes_are_refused(size: int, store: Store, tmp_path: Path) -> None:
    """Fault A1."""
    change_manifest(tmp_path, lambda value: value["files"]["fingerprint.pb"].update(size=size))
    with pytest.raises(DataError, match="this is not a release"):
        registry.pull_version(store, "news", 1, tmp_path / "served" / "1")
    assert not (tmp_path / "served").exists()


def test_too_many_files_are_refused(store: Store, tmp_path: Path) -> None:
    """Fault A1."""
    change_manifest(
        tmp_path,
        lambda value: value["files"].update(
            {f"f{n}": {"size": 0, "sha256": EMPTY} for n in range(10_001)}
        ),
    )
    with pytest.raises(DataError, match="more than 10000 files"):
        registry.pull_version(store, "news", 1, tmp_path / "served" / "1")


def test_a_link_in_the_store_is_not_followed(store: Store, tmp_path: Path) -> None:
    """Fault A1."""
    file = tmp_path / "store" / "news" / "1" / "fingerprint.pb"
    copy = tmp_path / "outside"
    file.rename(copy)
    file.symlink_to(copy)
    with pytest.raises(Exception, match="symbolic link"):
        registry.pull_version(store, "news", 1, tmp_path / "served" / "1")
    assert not (tmp_path / "served" / "1").exists()


def test_a_target_that_is_a_link_or_something_else_is_not_changed(
    store: Store, tmp_path: Path
) -> None:
    """Fault A1."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "plain").write_text("x")
    for target in ("precious", "link", "plain"):
        with pytest.raises(DataError, match="holds something else"):
            registry.pull_version(store, "news", 1, tmp_path / target)
    assert snapshot(tmp_path / "precious") == ["file"]


def swap(directory: Path) -> None:
    (directory / "saved_model.pb").write_text("evil   : saved_model.pb")


def remove(directory: Path) -> None:
    (directory / "variables" / "variables.index").unlink()


def add(directory: Path) -> None:
    (directory / "variables" / "extra").write_text("evil")


def cut(directory: Path) -> None:
    (directory / "fingerprint.pb").write_text("g")


def exchange(directory: Path) -> None:
    one, other = directory / "variables" / "variables.index", directory / "fingerprint.pb"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def unseal(directory: Path) -> None:
    (directory / MANIFEST_FILENAME).unlink()


def damage_manifest(directory: Path) -> None:
    (directory / MANIFEST_FILENAME).write_text((directory / MANIFEST_FILENAME).read_text()[:-20])


TAMPERING = pytest.mark.parametrize(
    "tamper",
    [swap, remove, add, cut, exchange, unseal, damage_manifest],
    ids=lambda change: change.__name__,
)


@TAMPERING
def test_a_release_that_was_changed_in_the_store_is_not_pulled(
    tamper: Callable[[Path], None], store: Store, tmp_path: Path
) -> None:
    """Fault A2."""
    tamper(tmp_path / "store" / "news" / "1")
    with pytest.raises(DataError):
        registry.pull_version(store, "news", 1, tmp_path / "served" / "1")
    assert not (tmp_path / "served" / "1").exists()
    assert not any((tmp_path / "served").glob("*") if (tmp_path / "served").exists() else ())


@TAMPERING
def test_a_release_that_was_changed_after_the_pull_is_refused(
    tamper: Callable[[Path], None], store: Store, tmp_path: Path
) -> None:
    """Fault A2."""
    registry.pull_version(store, "news", 1, tmp_path / "served" / "1")
    assert open_release(tmp_path / "served" / "1").content.version == 1
    tamper(tmp_path / "served" / "1")
    with pytest.raises(DataError):
        open_release(tmp_path / "served" / "1")


def test_a_file_replaced_by_a_link_to_the_same_bytes_is_refused(
    store: Store, tmp_path: Path
) -> None:
    """Fault A2."""
    target = tmp_path / "served" / "1"
    registry.pull_version(store, "news", 1, target)
    (target / "fingerprint.pb").rename(tmp_path / "outside")
    (target / "fingerprint.pb").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="no links"):
        open_release(target)


def test_an_older_version_under_a_newer_number_is_refused(store: Store, tmp_path: Path) -> None:
    """Fault A2."""
    (tmp_path / "store" / "news" / "1").rename(tmp_path / "store" / "news" / "2")
    with pytest.raises(DataError, match="that of news version 1"):
        registry.pull_version(store, "news", 2, tmp_path / "served" / "2")


@pytest.mark.parametrize(
    "name", ["../news", "a/b", "", ".kubert", "a..b", "x@y", "-rf", "x" * 64, "a\nb", "http://x"]
)
def test_impossible_model_names_are_refused(name: str, store: Store, tmp_path: Path) -> None:
    """Fault A5."""
    for call in (
        lambda: registry.list_versions(store, name),
        lambda: registry.find_champion(store, name),
        lambda: registry.publish(open_release(tmp_path / "source"), store, name, "key"),
        lambda: registry.pull_version(store, name, 1, tmp_path / "x"),
    ):
        with pytest.raises(ConfigError, match="not a model's name"):
            call()
