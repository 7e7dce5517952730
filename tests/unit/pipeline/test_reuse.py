"""S7: what a finished step made is used again only while every file of it is as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from kfp import dsl
from kfp.local.cache import LocalCache

from components.artifacts import manifest
from components.config.environment import ENV_PROGRESS
from pipeline.local import kfp_process


def commit_artifact(directory: Path) -> Path:
    with manifest.staged_artifact(directory) as work:
        (work / "weights").mkdir()
        (work / "weights" / "model").write_bytes(b"0123456789")
        manifest.commit(work, "checkpoint", content={})
    return directory


def outputs(directory: Path) -> dict[str, dsl.Artifact]:
    (directory.parent / "logs").mkdir(parents=True, exist_ok=True)
    return {
        "checkpoint": dsl.Model(name="checkpoint", uri=str(directory)),
        "logs": dsl.Artifact(name="logs", uri=str(directory.parent / "logs")),
    }


def flip(path: Path) -> None:
    (path / "weights" / "model").write_bytes(b"0123456780")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "truncated": lambda path: (path / "weights" / "model").write_bytes(b"01234"),
    "file-deleted": lambda path: (path / "weights" / "model").unlink(),
    "manifest-deleted": lambda path: (path / manifest.MANIFEST_FILENAME).unlink(),
    "file-added": lambda path: (path / "more").touch(),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalCache:
    monkeypatch.setenv(ENV_PROGRESS, str(tmp_path / "events.jsonl"))
    monkeypatch.setattr(LocalCache, "get", LocalCache.get)
    kfp_process._verify_cached_outputs()
    return LocalCache(str(tmp_path / "cache"))


def test_an_intact_result_is_reused_and_reported(cache: LocalCache, tmp_path: Path) -> None:
    """Fault S7."""
    made = outputs(commit_artifact(tmp_path / "train" / "checkpoint"))
    cache.put("key", made)
    found = cache.get("key")
    assert found is not None and found["checkpoint"].uri == made["checkpoint"].uri
    event = json.loads((tmp_path / "events.jsonl").read_text())
    assert (event["step"], event["kind"]) == ("train", "reused")
    assert event["outputs"] == {name: artifact.path for name, artifact in made.items()}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_result_is_not_reused(
    damage: Callable[[Path], object],
    cache: LocalCache,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Fault S7."""
    directory = commit_artifact(tmp_path / "train" / "checkpoint")
    cache.put("key", outputs(directory))
    damage(directory)
    assert cache.get("key") is None
    assert "cached outputs are not reused: " in capsys.readouterr().out
    assert not (tmp_path / "events.jsonl").exists()


def test_a_missing_result_is_not_reused(cache: LocalCache, tmp_path: Path) -> None:
    """Fault S7."""
    cache.put("key", outputs(tmp_path / "train" / "checkpoint"))
    assert cache.get("key") is None
    assert cache.get("never") is None
