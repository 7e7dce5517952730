"""Artifacts of a few bytes, or of many."""

from __future__ import annotations

import os
from pathlib import Path

from components.artifacts import manifest
from components.artifacts.manifest import ArtifactKind

FILES = ("vocab.txt", "weights/model.data-00000-of-00001", "weights/model.index")


def plain_artifact(
    path: Path,
    marker: str,
    kind: ArtifactKind = "checkpoint",
    files: tuple[str, ...] = FILES,
    size: int = 0,
) -> Path:
    """An artifact whose files all have `marker`, and then `size` random bytes."""
    for name in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(f"{marker}: {name}".encode() + os.urandom(size))
    manifest.commit(path, kind, content={"marker": marker})
    return path
