"""The release that a training begins with: found once, with its checkpoint, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from components import registry
from components.artifacts import manifest
from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.release import ReleaseLineage, StartingPoint, open_release
from components.errors import DataError
from components.registry import starting_point
from components.registry.starting_point import (
    open_release_checkpoint,
    publish_checkpoint,
    read_checkpoint,
    read_release_vocabulary,
    resolve_starting_point,
)
from components.storage.store import Store, open_store
from tests.support.hash_counter import count_file_hashes
from tests.support.releases.release_directories import CONTENT, release_directory
from tests.support.stores.faulty_backend import FaultyBackend, build_store
from tests.support.training import tiny_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Artifact[CheckpointContent]:
    directory = tmp_path_factory.mktemp("start") / "checkpoint"
    tiny_checkpoint.make_checkpoint(directory)
    return open_checkpoint(directory)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "models"))


@pytest.fixture
def publish(
    store: Store, checkpoint: Artifact[CheckpointContent], tmp_path: Path
) -> Callable[..., None]:
    """Publishes a release of the checkpoint, trained on some shards."""

    def publish_release(shards: str, start_from: ReleaseLineage | None = None) -> None:
        directory = release_directory(tmp_path / shards, shards)
        content = CONTENT.model_copy(update={"start_from": start_from})
        manifest.commit(
            directory,
            "release",
            content=content.model_dump(mode="json"),
            inputs={"checkpoint": checkpoint.digest, "shards": shards},
        )
        publish_checkpoint(checkpoint, store, "news")
        registry.publish(open_release(directory), store, "news", shards)

    return publish_release


def test_the_champion_or_the_named_version_is_fixed_with_its_digests(
    publish: Callable[..., None], store: Store, checkpoint: Artifact[CheckpointContent]
) -> None:
    publish("monday")
    publish("tuesday")
    for reference, version in (("news", 2), ("news@1", 1)):
        start = resolve_starting_point(store.uri(reference)).release
        assert start is not None
        assert (start.name, start.version, start.checkpoint) == (
            "news",
            version,
            checkpoint.digest,
        )
        sealed = manifest.read_manifest(Path(store.uri(f"news/{version}")))
        assert start.digest == sealed.digest
    registry.set_champion(store, "news", 1)
    found = resolve_starting_point(store.uri("news")).release
    assert found is not None and found.version == 1
    assert registry.list_versions(store, "news") == [1, 2]


def test_the_checkpoint_of_a_release_is_read_back(
    publish: Callable[..., None],
    store: Store,
    checkpoint: Artifact[CheckpointContent],
    tmp_path: Path,
) -> None:
    publish("monday")
    start = resolve_starting_point(store.uri("news")).release
    assert start is not None
    assert open_release_checkpoint(start, tmp_path / "x").manifest == checkpoint.manifest
    assert read_release_vocabulary(start, *read_checkpoint(start)) == tiny_checkpoint.VOCABULARY
    remote = start.model_copy(update={"store": f"file://{start.store}"})
    assert open_release_checkpoint(remote, tmp_path / "y").manifest == checkpoint.manifest


def test_a_checkpoint_in_object_storage_is_read_once_and_hashed_once(
    publish: Callable[..., None],
    store: Store,
    checkpoint: Artifact[CheckpointContent],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish("monday")
    start = resolve_starting_point(store.uri("news")).release
    assert start is not None
    reads: Counter[str] = Counter()
    backend = FaultyBackend(
        tmp_path / "models",
        before=lambda operation, key: reads.update([key] if operation == "get" else []),
    )
    monkeypatch.setattr(starting_point, "open_store", lambda uri: build_store(backend))
    hashes = count_file_hashes(monkeypatch)
    opened = open_release_checkpoint(start, tmp_path / "x")
    files = checkpoint.manifest.files
    prefix = f"news/.kubert/checkpoint-{checkpoint.digest}"
    assert reads == {f"{prefix}/{file}": 1 for file in (*files, "manifest.json")}
    assert sum(hashes.values()) == len(files)
    assert opened == open_checkpoint(tmp_path / "x")
    assert opened.manifest == checkpoint.manifest


def test_while_nothing_is_released_there_is_no_release_and_a_version_is_an_error(
    store: Store,
) -> None:
    assert resolve_starting_point(store.uri("news")) == StartingPoint(reference=store.uri("news"))
    with pytest.raises(DataError, match="no version 3; nothing is released under this name"):
        resolve_starting_point(store.uri("news@3"))


def test_a_release_without_its_checkpoint_is_refused_and_an_export_completes_it(
    publish: Callable[..., None], store: Store, checkpoint: Artifact[CheckpointContent]
) -> None:
    """Fault E6."""
    publish("monday")
    prefix = f"news/.kubert/checkpoint-{checkpoint.digest}"
    store.delete(f"{prefix}/manifest.json")
    with pytest.raises(DataError, match="version 1 has no checkpoint to start from; export it ag"):
        resolve_starting_point(store.uri("news"))
    store.delete(f"{prefix}/vocab.txt")
    publish_checkpoint(checkpoint, store, "news")
    assert resolve_starting_point(store.uri("news")).release is not None


def test_a_changed_checkpoint_is_refused(
    publish: Callable[..., None],
    store: Store,
    checkpoint: Artifact[CheckpointContent],
    tmp_path: Path,
) -> None:
    """Fault E6."""
    publish("monday")
    start = resolve_starting_point(store.uri("news")).release
    assert start is not None
    prefix = f"news/.kubert/checkpoint-{checkpoint.digest}"
    store.write(f"{prefix}/vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    with pytest.raises(DataError, match=r"vocab\.txt"):
        read_release_vocabulary(start, *read_checkpoint(start))
    with pytest.raises(DataError, match=r"vocab\.txt"):
        open_release_checkpoint(start, tmp_path / "x")
    sealed = checkpoint.manifest.model_copy(update={"content": {}})
    store.write(f"{prefix}/manifest.json", manifest.serialize_manifest(sealed))
    with pytest.raises(DataError, match="its checkpoint is damaged; export it again"):
        resolve_starting_point(store.uri("news"))


def test_on_the_champions_own_rows_a_training_begins_where_the_champion_began(
    publish: Callable[..., None], store: Store
) -> None:
    publish("monday")
    first = resolve_starting_point(store.uri("news"))
    assert first.release is not None
    assert first.choose_release("tuesday") == first.release
    assert first.choose_release("monday") is None
    publish("tuesday", first.release.lineage)
    second = resolve_starting_point(store.uri("news"))
    assert second.release is not None and second.release.version == 2
    assert second.choose_release("wednesday") == second.release
    assert second.choose_release("tuesday") == first.release
    named = resolve_starting_point(store.uri("news@2"))
    assert named.choose_release("tuesday") == second.release
    publish("friday", ReleaseLineage(name="other", version=1, digest="d"))
    third = resolve_starting_point(store.uri("news"))
    assert third.choose_release("friday") == third.release
