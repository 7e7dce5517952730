"""Directories in the form of a release, made without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from components.artifacts import manifest
from components.artifacts.release import ReleaseContent

CONTENT = ReleaseContent(
    classes=("no", "yes"),
    encoder="scratch",
    max_length=16,
    accuracy=0.5,
    accuracy_low=0.4,
    accuracy_high=0.6,
    macro_f1=0.5,
    test_rows=100,
    gate={},
    parity_rows=64,
    parity_difference=0.0,
)


def release_directory(path: Path, marker: str) -> Path:
    """A release whose files all have `marker`, so that a mix of two is found."""
    for name in (
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "saved_model.pb",
        "fingerprint.pb",
    ):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"{marker}: {name}")
    manifest.commit(path, "release", content=CONTENT.model_dump(mode="json"))
    return path


def markers(path: Path) -> set[str]:
    """The markers in a release's files."""
    return {
        file.read_text().partition(":")[0]
        for file in path.rglob("*")
        if file.is_file() and file.name != manifest.MANIFEST_FILENAME
    }
