from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts import manifest
from components.artifacts.artifact import verify_artifact
from components.errors import DataError
from components.storage.atomic_files import atomic_write


def make(directory: Path, **files: str) -> manifest.Manifest:
    with manifest.staged_artifact(directory) as work:
        (work / "sub").mkdir()
        for name, text in ({"one": "first", "sub/two": "second"} | files).items():
            (work / name).write_text(text)
        return manifest.commit(
            work, "report", content={"answer": 42}, inputs={"shards": "ab"}, config={"x": 1}
        )


def test_what_is_sealed_verifies_and_reads_back(tmp_path: Path) -> None:
    made = make(tmp_path / "a")
    assert verify_artifact(tmp_path / "a", "report") == made
    assert set(made.files) == {"one", "sub/two"}
    assert made.files["one"].size == 5
    assert (made.content, made.inputs, made.config) == ({"answer": 42}, {"shards": "ab"}, {"x": 1})


def test_equal_artifacts_have_equal_digests_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(tmp_path / "a")
    monkeypatch.setenv("KUBERT_IMAGE", "registry/image@sha256:0")
    again = make(tmp_path / "b")
    assert again.image
    assert first.digest == again.digest
    assert make(tmp_path / "c", one="First").digest != first.digest


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda d: os.truncate(d / "one", 3), "one: 3 bytes, the manifest says 5"),
    "bit flipped": (lambda d: (d / "one").write_text("fIrst"), "one: its SHA-256"),
    "missing": (lambda d: (d / "sub/two").unlink(), "two: missing"),
    "added": (lambda d: (d / "sub/three").write_text(""), "three: not in the manifest"),
    "no manifest": (lambda d: (d / manifest.MANIFEST_FILENAME).unlink(), "not a finished artifact"),
    "manifest cut": (
        lambda d: os.truncate(d / manifest.MANIFEST_FILENAME, 60),
        "not a valid manifest",
    ),
    "manifest empty": (
        lambda d: os.truncate(d / manifest.MANIFEST_FILENAME, 0),
        "not a valid manifest",
    ),
    "no directory": (lambda d: d.rename(d.with_name("gone")), "not a finished artifact"),
}


@pytest.mark.parametrize("harm", HARM)
def test_damage_is_found_and_named(harm: str, tmp_path: Path) -> None:
    make(tmp_path / "a")
    inflict, message = HARM[harm]
    inflict(tmp_path / "a")
    with pytest.raises(DataError, match=message):
        verify_artifact(tmp_path / "a")


def test_another_kind_or_format_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "a")
    with pytest.raises(DataError, match="holds a report, but a checkpoint is needed"):
        manifest.read_manifest(tmp_path / "a", "checkpoint")
    path = tmp_path / "a" / manifest.MANIFEST_FILENAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    with pytest.raises(DataError, match=r"format 99, .* reads 1 and 2; use a newer version"):
        manifest.read_manifest(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "version"),
    [
        pytest.param({}, 1, id="none"),
        pytest.param({"classes": ["a", "b"]}, 1, id="single-label"),
        pytest.param({"task": {"kind": "multi_label"}}, 2, id="multi-label"),
    ],
)
def test_only_an_artifact_of_another_task_has_a_format_that_older_versions_refuse(
    content: dict[str, object], version: int, tmp_path: Path
) -> None:
    """Fault E7."""
    with manifest.staged_artifact(tmp_path / "a") as work:
        manifest.commit(work, "checkpoint", content=content)
    assert verify_artifact(tmp_path / "a").format_version == version


def test_a_failed_build_leaves_the_old_artifact_and_nothing_else(tmp_path: Path) -> None:
    old = make(tmp_path / "a")
    with pytest.raises(OSError, match="No space"), manifest.staged_artifact(tmp_path / "a") as work:
        (work / "one").write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert verify_artifact(tmp_path / "a") == old
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_build_replaces_the_old_artifact_whole(tmp_path: Path) -> None:
    make(tmp_path / "a", extra="old")
    make(tmp_path / "a")
    assert set(verify_artifact(tmp_path / "a").files) == {"one", "sub/two"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("before", ["empty directory", "file"])
def test_a_build_replaces(before: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir() if before == "empty directory" else (tmp_path / "a").write_text("x")
    make(tmp_path / "a")
    verify_artifact(tmp_path / "a")


def test_the_old_artifact_stands_until_the_new_one_is_complete(tmp_path: Path) -> None:
    old = make(tmp_path / "a")
    with manifest.staged_artifact(tmp_path / "a") as work:
        (work / "one").write_text("new")
        assert verify_artifact(tmp_path / "a") == old
        manifest.commit(work, "report", content={})
        assert verify_artifact(tmp_path / "a") == old
    assert verify_artifact(tmp_path / "a") != old


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".a.k1ll3d"
    left.mkdir()
    (left / "half").write_text("x")
    make(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_build_that_forgets_to_seal_is_a_defect(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="did not call commit"),
        manifest.staged_artifact(tmp_path / "a"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_text_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    atomic_write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "new \ud800")
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]
