from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components import registry
from components.artifacts import manifest
from components.artifacts.release import open_release
from components.errors import ConfigError, DataError
from components.storage.store import Store, open_store
from tests.support.releases.release_directories import markers, release_directory


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def publish(store: Store, tmp_path: Path, *keys: str) -> None:
    for key in keys:
        registry.publish(
            open_release(release_directory(tmp_path / f"source-{key}", key)), store, "news", key
        )


def test_a_release_is_a_directory_that_a_server_understands(store: Store, tmp_path: Path) -> None:
    published = registry.publish(
        open_release(release_directory(tmp_path / "source", "a")), store, "news", "key"
    )
    assert (published.version, published.created, published.uri) == (
        1,
        True,
        str(tmp_path / "store" / "news" / "1"),
    )
    assert sorted(path.name for path in (tmp_path / "store" / "news").iterdir()) == [".kubert", "1"]
    content = open_release(tmp_path / "store" / "news" / "1").content
    assert (content.name, content.version, content.classes) == ("news", 1, ("no", "yes"))


def test_nothing_is_released_at_first(store: Store) -> None:
    assert registry.list_versions(store, "news") == []
    assert registry.find_champion(store, "news") is None
    assert registry.find_published(store, "news", "key") is None


def test_a_key_is_one_version_and_another_key_the_next(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a", "a", "b", "a")
    assert registry.list_versions(store, "news") == [1, 2]
    assert registry.find_published(store, "news", "a") == registry.PublishedVersion(
        version=1, uri=store.uri("news/1"), created=False
    )


def test_versions_are_ordered_as_numbers_and_foreign_directories_are_no_versions(
    store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, *(f"k{number}" for number in range(11)))
    for name in ("latest", "0", "007", "12.bak"):
        shutil.copytree(tmp_path / "store" / "news" / "1", tmp_path / "store" / "news" / name)
    (tmp_path / "store" / "news" / "99").mkdir()
    assert registry.list_versions(store, "news") == list(range(1, 12))
    assert registry.find_champion(store, "news") == 11


def test_a_version_number_in_use_is_never_given_again(store: Store, tmp_path: Path) -> None:
    (tmp_path / "store" / "news" / "7").mkdir(parents=True)
    (tmp_path / "store" / "news" / "7" / "saved_model.pb").write_bytes(b"someone else's")
    publish(store, tmp_path, "a")
    assert registry.list_versions(store, "news") == [8]


def test_a_removed_version_can_be_released_again_under_a_new_number(
    store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, "a", "b")
    shutil.rmtree(tmp_path / "store" / "news" / "1")
    again = registry.publish(
        open_release(release_directory(tmp_path / "again", "a")), store, "news", "a"
    )
    assert (again.version, again.created) == (3, True)
    assert registry.list_versions(store, "news") == [2, 3]


def test_an_older_version_can_be_put_back_until_the_next_release(
    store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, "a", "b")
    registry.set_champion(store, "news", 1)
    assert registry.find_champion(store, "news") == 1
    publish(store, tmp_path, "c")
    assert registry.find_champion(store, "news") == 3
    with pytest.raises(DataError, match="no version 9; complete ones: 1, 2, 3"):
        registry.set_champion(store, "news", 9)


def test_a_version_that_was_put_back_and_then_removed_is_not_the_champion(
    store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, "a", "b")
    registry.set_champion(store, "news", 1)
    shutil.rmtree(tmp_path / "store" / "news" / "1")
    assert registry.find_champion(store, "news") == 2


def test_pull_brings_the_release_and_leaves_nothing_else(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a")
    pulled = registry.pull_version(store, "news", 1, tmp_path / "served" / "1")
    assert open_release(tmp_path / "served" / "1") == pulled
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["1"]
    assert (tmp_path / "served" / "1").stat().st_mode & 0o555 == 0o555


def test_pull_again_changes_nothing_and_heals_a_damaged_copy(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a")
    target = tmp_path / "served" / "1"
    registry.pull_version(store, "news", 1, target)
    inode = target.stat().st_ino
    registry.pull_version(store, "news", 1, target)
    assert target.stat().st_ino == inode
    (target / "fingerprint.pb").write_text("damaged")
    registry.pull_version(store, "news", 1, target)
    open_release(target)
    assert markers(target) == {"a"}
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["1"]


def test_too_small_a_disk_is_an_error_before_any_download(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, tmp_path, "a")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr("components.artifacts.transfer.shutil.disk_usage", lambda path: usage)
    with pytest.raises(Exception, match="bytes are needed, 10 are free"):
        registry.pull_version(store, "news", 1, tmp_path / "served" / "1")
    assert list((tmp_path / "served").iterdir()) == []


def test_an_unfinished_version_cannot_be_pulled(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a finished release"):
        registry.pull_version(store, "news", 1, tmp_path / "served" / "1")


def test_what_is_not_sealed_as_a_release_is_not_published(store: Store, tmp_path: Path) -> None:
    source = release_directory(tmp_path / "source", "a")
    (source / "late").write_text("x")
    with pytest.raises(DataError, match="late: not in the manifest"):
        registry.publish(open_release(source), store, "news", "a")
    (tmp_path / "other").mkdir()
    manifest.commit(tmp_path / "other", "report", content={})
    with pytest.raises(DataError, match="holds a report"):
        registry.publish(open_release(tmp_path / "other"), store, "news", "a")
    (source / "late").unlink()
    with pytest.raises(ConfigError, match="the key of a release"):
        registry.publish(open_release(source), store, "news", "a/b")
    assert store.list() == []
