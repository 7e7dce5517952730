from __future__ import annotations

import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components import registry
from components.artifacts.release import open_release
from components.errors import DataError, UsageError
from components.registry.reference import ModelReference
from components.serving import puller
from components.serving.model_directory import LOCK_FILENAME
from components.storage.store import Store, open_store
from tests.support.releases.release_directories import markers, release_directory


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "models"))


def publish(store: Store, tmp_path: Path, *markers: str) -> None:
    for marker in markers:
        registry.publish(
            open_release(release_directory(tmp_path / f"source-{marker}", marker)),
            store,
            "news",
            marker,
        )


def update(store: Store, into: Path, served: int | None, keep: int = 1) -> list[str]:
    into.mkdir(exist_ok=True)
    lines: list[str] = []
    sync = puller.ChampionSync(ModelReference(store, "news", None), into, keep, lines.append)
    sync.served_version = served
    sync.update_directory()
    return lines


def list_names(into: Path) -> list[str]:
    return sorted(path.name for path in into.iterdir())


def test_a_new_release_is_put_beside_the_old_one(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a")
    first = update(store, tmp_path / "served", None)
    assert first[0].startswith("news: fetching version 1 (0.0 MiB) from ")
    assert first[1] == "news: serving version 1 (accuracy 0.5000)"
    publish(store, tmp_path, "b")
    assert (
        update(store, tmp_path / "served", 1)[1]
        == "news: serving version 2 (accuracy 0.5000), was 1"
    )
    assert list_names(tmp_path / "served") == ["1", "2"]
    assert markers(tmp_path / "served" / "2") == {"b"}


def test_nothing_new_says_and_does_nothing(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a")
    update(store, tmp_path / "served", None)
    before = (tmp_path / "served" / "1").stat().st_ino
    assert update(store, tmp_path / "served", 1) == []
    assert (tmp_path / "served" / "1").stat().st_ino == before


@pytest.mark.parametrize(("keep", "left"), [(0, ["3"]), (1, ["2", "3"]), (5, ["1", "2", "3"])])
def test_only_so_many_older_versions_stay(
    keep: int, left: list[str], store: Store, tmp_path: Path
) -> None:
    for served, marker in enumerate("abc"):
        publish(store, tmp_path, marker)
        update(store, tmp_path / "served", served or None, keep=9)
    update(store, tmp_path / "served", 3, keep)
    assert list_names(tmp_path / "served") == left


def test_a_rollback_leaves_the_older_version_the_highest(store: Store, tmp_path: Path) -> None:
    for served, marker in enumerate("abc"):
        publish(store, tmp_path, marker)
        update(store, tmp_path / "served", served or None, keep=9)
    registry.set_champion(store, "news", 1)
    assert update(store, tmp_path / "served", 3) == [
        "news: serving version 1 (accuracy 0.5000), rolled back from 3"
    ]
    assert list_names(tmp_path / "served") == ["1"]
    registry.set_champion(store, "news", 3)
    update(store, tmp_path / "served", 1)
    assert list_names(tmp_path / "served") == ["1", "3"]


def test_a_version_that_was_removed_here_comes_again(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a")
    update(store, tmp_path / "served", None)
    (tmp_path / "served" / "1").rename(tmp_path / "gone")
    update(store, tmp_path / "served", 1)
    assert list_names(tmp_path / "served") == ["1"]


@pytest.mark.parametrize("name", ["9", "09"])
def test_what_a_server_would_take_first_is_refused_and_left_alone(
    name: str, store: Store, tmp_path: Path
) -> None:
    publish(store, tmp_path, "a")
    (tmp_path / "served" / name).mkdir(parents=True)
    (tmp_path / "served" / name / "precious").write_text("x")
    with pytest.raises(
        DataError,
        match=f"{name}: not a release of news, and a server would take it before version 1",
    ):
        update(store, tmp_path / "served", None)
    assert list_names(tmp_path / "served") == [name]
    assert list_names(tmp_path / "served" / name) == ["precious"]


def test_what_is_not_ours_below_the_champion_stays(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a", "b")
    (tmp_path / "served" / "0").mkdir(parents=True)
    other = release_directory(tmp_path / "served" / "1", "another model's")
    update(store, tmp_path / "served", None, keep=0)
    assert list_names(tmp_path / "served") == ["0", "1", "2"]
    assert markers(other) == {"another model's"}


def test_a_pull_without_watching_tells_where_the_release_is(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a")
    lines: list[str] = []
    release = puller.pull_once(f"{tmp_path / 'models'}/news@1", tmp_path / "served", lines.append)
    assert (release.content.version, release.directory) == (1, tmp_path / "served" / "1")
    assert lines[-1] == f"news version 1 is at {release.directory}, verified"


def test_a_pull_works_in_a_thread(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a")
    with ThreadPoolExecutor(1) as pool:
        pulled = pool.submit(
            puller.pull_once, str(tmp_path / "models/news"), tmp_path / "served", print
        )
    assert pulled.result().content.version == 1


def test_two_pullers_of_one_directory_are_refused(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "a")
    (tmp_path / "served").mkdir()
    with open(tmp_path / "served" / LOCK_FILENAME, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another pull is at work there"):
            puller.pull_once(str(tmp_path / "models/news"), tmp_path / "served", print)
    puller.pull_once(str(tmp_path / "models/news"), tmp_path / "served", print)


@pytest.mark.parametrize(
    ("reference", "seconds", "keep", "message"),
    [
        ("news@1", 1, 1, "version 1 never changes"),
        ("news", 0, 1, "more than 0"),
        ("news", 1, -1, "at least 0"),
    ],
)
def test_impossible_options_of_watching(
    reference: str, seconds: float, keep: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        puller.sync_until_stopped(f"{tmp_path}/{reference}", tmp_path / "served", seconds, keep)
