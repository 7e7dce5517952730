"""How often a pull asks the store: one listing, one reading of the manifest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from components import registry
from components.artifacts.release import open_release
from components.registry.reference import ModelReference, resolve_version
from components.registry.registry import read_release
from components.serving.puller import ChampionSync
from components.storage.store import Store
from tests.support.releases.release_directories import release_directory
from tests.support.stores.faulty_backend import FaultyBackend, build_store


@pytest.fixture
def calls() -> Counter[tuple[str, str]]:
    return Counter()


@pytest.fixture
def store(tmp_path: Path, calls: Counter[tuple[str, str]]) -> Store:
    def count(operation: str, key: str) -> None:
        calls[operation, key] += 1

    store = build_store(FaultyBackend(tmp_path / "models", before=count))
    for marker in ("a", "b"):
        release = open_release(release_directory(tmp_path / marker, marker))
        registry.publish(release, store, "news", marker)
    calls.clear()
    return store


def assert_asked_once(calls: Counter[tuple[str, str]]) -> None:
    listings = {key: count for (operation, key), count in calls.items() if operation == "list_keys"}
    assert listings == {"news/": 1}
    downloads = {key: count for (operation, key), count in calls.items() if operation == "get"}
    assert downloads["news/2/manifest.json"] == 1
    assert set(downloads.values()) == {1}


def test_a_pull_lists_the_model_once_and_reads_each_object_once(
    store: Store, calls: Counter[tuple[str, str]], tmp_path: Path
) -> None:
    resolved = resolve_version(ModelReference(store, "news", None))
    read_release(resolved.listing, resolved.version).pull(tmp_path / "served")
    assert_asked_once(calls)


def test_a_sync_to_a_new_champion_lists_once_and_reads_each_object_once(
    store: Store, calls: Counter[tuple[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    lines: list[str] = []
    ChampionSync(
        ModelReference(store, "news", None), tmp_path / "served", 1, lines.append
    ).update_directory()
    assert [line.split(" (")[0] for line in lines] == [
        "news: fetching version 2",
        "news: serving version 2",
    ]
    assert_asked_once(calls)
