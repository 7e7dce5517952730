"""Crashes at every write of a publication, and publishers that meet at every write."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components import registry
from components.artifacts.release import MODEL_FILENAME, open_release
from components.registry.listing import PRIVATE_DIRECTORY
from components.storage.backend import TemporaryError
from components.storage.local import LocalBackend
from components.storage.store import Store
from tests.support.releases.release_directories import markers, release_directory
from tests.support.stores.faulty_backend import FaultyBackend, Hook, build_store

WRITES = {"put", "create", "delete", "clear", "rename"}
RENAMES = pytest.mark.parametrize("renames", [True, False], ids=["directory", "bucket"])


class Crash(BaseException):
    """The process is gone: nothing after this line runs."""


def at_write(number: int, act: Callable[[], None]) -> Hook:
    """A hook that acts at the write with this number, once."""
    counter = itertools.count()

    def hook(operation: str, key: str) -> None:
        if operation in WRITES and next(counter) == number:
            act()

    return hook


def crash() -> None:
    raise Crash


def open_plain_store(root: Path, renames: bool) -> Store:
    return build_store(FaultyBackend(root, supports_atomic_rename=renames))


def assert_readers_see_whole_versions(
    root: Path, renames: bool, targets: Iterator[Path]
) -> list[int]:
    """Every complete version can be pulled and is not a mix of two releases.

    A server never sees a model's graph without all other files.
    """
    store = open_plain_store(root, renames)
    found = registry.list_versions(store, "news")
    for version in found:
        target = next(targets)
        registry.pull_version(store, "news", version, target)
        assert len(markers(target)) == 1
    for child in (root / "news").iterdir() if (root / "news").is_dir() else ():
        if child.name.isdigit() and (child / MODEL_FILENAME).exists():
            assert (
                len(
                    [
                        path
                        for path in child.rglob("*")
                        if path.is_file() and path.name != "manifest.json"
                    ]
                )
                == 4
            )
        if renames and child.name.isdigit():
            assert int(child.name) in found, "a directory shows a version only when it is complete"
    return found


def target_directories(root: Path) -> Iterator[Path]:
    return (root / f"pulled-{number}" for number in itertools.count())


@RENAMES
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_every_write_is_completed_by_a_rerun(
    renames: bool, when: str, tmp_path: Path
) -> None:
    """Fault E2."""
    first, second = (
        release_directory(tmp_path / "a", "first"),
        release_directory(tmp_path / "b", "second"),
    )
    targets = target_directories(tmp_path)
    for number in itertools.count():
        root = tmp_path / f"store-{number}"
        hook = at_write(number, crash)
        backend = (
            FaultyBackend(root, supports_atomic_rename=renames, before=hook)
            if when == "before"
            else FaultyBackend(root, supports_atomic_rename=renames, after=hook)
        )
        try:
            registry.publish(open_release(first), build_store(backend), "news", "key")
            crashed = False
        except Crash:
            crashed = True
        assert len(assert_readers_see_whole_versions(root, renames, targets)) in (0, 1)
        published = registry.publish(
            open_release(second), open_plain_store(root, renames), "news", "key"
        )
        assert assert_readers_see_whole_versions(root, renames, targets) == [published.version]
        assert not registry.publish(
            open_release(second), open_plain_store(root, renames), "news", "key"
        ).created
        numbered = {
            child.name
            for child in (root / "news").iterdir()
            if child.name.isdigit() and any(child.rglob("*"))
        }
        assert numbered == {str(published.version)}, (
            "what the crashed attempt left behind is cleared away"
        )
        assert not list((root / "news" / PRIVATE_DIRECTORY).glob("staged-*"))
        if not crashed:
            assert number > 6, "the crash points were not reached"
            return


@RENAMES
@pytest.mark.parametrize("same_key", [True, False], ids=["same-key", "other-key"])
def test_two_publishers_meet_at_every_write(renames: bool, same_key: bool, tmp_path: Path) -> None:
    """Fault E1."""
    first, second = (
        release_directory(tmp_path / "a", "first"),
        release_directory(tmp_path / "b", "second"),
    )
    targets = target_directories(tmp_path)
    for number in itertools.count():
        root = tmp_path / f"store-{number}"
        other: list[registry.PublishedVersion] = []

        def meet(root: Path = root, other: list[registry.PublishedVersion] = other) -> None:
            other.append(
                registry.publish(
                    open_release(second),
                    open_plain_store(root, renames),
                    "news",
                    "key" if same_key else "other",
                )
            )

        published = registry.publish(
            open_release(first),
            build_store(
                FaultyBackend(root, at_write(number, meet), supports_atomic_rename=renames)
            ),
            "news",
            "key",
        )
        if not other:
            assert number > 6
            return
        if same_key:
            assert published.version == other[0].version
            assert published.created + other[0].created == 1
        else:
            assert {published.version, other[0].version} == {1, 2}
        assert assert_readers_see_whole_versions(root, renames, targets) == sorted(
            {published.version, other[0].version}
        )
        assert not list((root / "news" / PRIVATE_DIRECTORY).glob("staged-*"))


@RENAMES
@pytest.mark.parametrize("same_key", [True, False], ids=["same-key", "other-key"])
def test_many_publishers_run_at_once(renames: bool, same_key: bool, tmp_path: Path) -> None:
    """Fault E1."""
    start, found = threading.Barrier(6), []
    directories = [
        release_directory(tmp_path / f"source-{number}", f"source {number}") for number in range(6)
    ]

    def publish(number: int) -> None:
        start.wait()
        found.append(
            registry.publish(
                open_release(directories[number]),
                open_plain_store(tmp_path / "store", renames),
                "news",
                "key" if same_key else f"key-{number}",
            )
        )

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = [published.version for published in found]
    assert len(found) == 6
    assert len(set(versions)) == (1 if same_key else 6)
    assert sum(published.created for published in found) == (1 if same_key else 6)
    assert assert_readers_see_whole_versions(
        tmp_path / "store", renames, target_directories(tmp_path)
    ) == sorted(set(versions))


@RENAMES
def test_a_pull_at_every_write_of_a_publish_gets_the_old_or_the_new_version(
    renames: bool, tmp_path: Path
) -> None:
    """Fault E3."""
    old, new = release_directory(tmp_path / "a", "old"), release_directory(tmp_path / "b", "new")
    targets, seen = target_directories(tmp_path), set()
    for number in itertools.count():
        root = tmp_path / f"store-{number}"
        registry.publish(open_release(old), open_plain_store(root, renames), "news", "old")
        done: list[int] = []

        def pull(root: Path = root, done: list[int] = done) -> None:
            store = open_plain_store(root, renames)
            version = registry.find_champion(store, "news")
            assert version is not None
            target = next(targets)
            registry.pull_version(store, "news", version, target)
            assert markers(target) == {"old" if version == 1 else "new"}
            seen.add(version)
            done.append(version)

        registry.publish(
            open_release(new),
            build_store(
                FaultyBackend(root, after=at_write(number, pull), supports_atomic_rename=renames)
            ),
            "news",
            "new",
        )
        if not done:
            break
    assert seen == {1, 2}


@RENAMES
def test_a_release_is_published_through_a_store_that_fails_half_the_calls(
    renames: bool, tmp_path: Path
) -> None:
    """Fault S1."""
    draw = random.Random(3)

    def unreliable(operation: str, key: str) -> None:
        if draw.random() < 0.25:
            raise TemporaryError(5, "503")

    source = release_directory(tmp_path / "a", "first")
    store = build_store(
        FaultyBackend(tmp_path / "store", unreliable, unreliable, supports_atomic_rename=renames)
    )
    for expected in (1, 2, 3):
        assert (
            registry.publish(open_release(source), store, "news", f"key-{expected}").version
            == expected
        )
    registry.pull_version(store, "news", 3, tmp_path / "pulled")
    assert markers(tmp_path / "pulled") == {"first"}


@RENAMES
def test_a_publish_survives_the_loss_of_every_reply_once(renames: bool, tmp_path: Path) -> None:
    """Fault S4."""
    lost: set[tuple[str, str]] = set()

    def lose(operation: str, key: str) -> None:
        if (operation, key) not in lost:
            lost.add((operation, key))
            raise TemporaryError(5, "the reply was lost")

    published = registry.publish(
        open_release(release_directory(tmp_path / "a", "first")),
        build_store(FaultyBackend(tmp_path / "store", after=lose, supports_atomic_rename=renames)),
        "news",
        "key",
    )
    assert len(lost) > 6
    assert published.version == 1
    assert registry.list_versions(open_plain_store(tmp_path / "store", renames), "news") == [1]
    assert (
        len([key for key in LocalBackend(tmp_path / "store").list_keys("") if "/claim-" in key])
        == 1
    )
