"""Atomic files and directories: the old content or the new, and no temporary files left."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from components.storage.atomic_files import (
    TEMPORARY_PREFIX,
    atomic_create,
    atomic_replace_file,
    atomic_write,
    file_crc32c,
    file_sha256,
    staged_directory,
)


class CrashError(Exception):
    """Ends a block in the middle."""


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("content", ["new, with ü", b"new\x00"])
def test_atomic_write_replaces_the_content(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    atomic_write(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert path.stat().st_mode & 0o777 == 0o644
    assert list_names(tmp_path) == ["file"]


def test_a_block_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(CrashError), atomic_replace_file(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert temporary.name.startswith(TEMPORARY_PREFIX)
        raise CrashError
    assert path.read_text() == "old"
    assert list_names(tmp_path) == ["file"]


def test_atomic_create_never_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert atomic_create(path, b"first")
    assert not atomic_create(path, b"second")
    assert path.read_bytes() == b"first"
    assert list_names(tmp_path) == ["file"]


@pytest.mark.parametrize("old", [None, "file", "directory"])
def test_a_staged_directory_replaces_what_was_there(tmp_path: Path, old: str | None) -> None:
    output = tmp_path / "deep" / "output"
    if old == "directory":
        (output / "sub").mkdir(parents=True)
    elif old == "file":
        output.parent.mkdir()
        output.write_text("old")
    with staged_directory(output) as staging:
        (staging / "new").write_text("new")
        assert not (output / "new").exists()
    assert list_names(output) == ["new"]
    assert output.stat().st_mode & 0o777 == 0o755
    assert list_names(output.parent) == ["output"]


def test_a_staged_directory_whose_block_fails_changes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    (output / "old").touch()
    with pytest.raises(CrashError), staged_directory(output) as staging:
        (staging / "half").touch()
        raise CrashError
    assert list_names(output) == ["old"]
    assert list_names(tmp_path) == ["output"]


@pytest.mark.parametrize("remove_leftovers", [True, False])
def test_leftovers_of_the_same_output_are_removed_on_request(
    tmp_path: Path, remove_leftovers: bool
) -> None:
    (tmp_path / ".output.killed").mkdir()
    (tmp_path / ".other.killed").mkdir()
    with staged_directory(tmp_path / "output", remove_leftovers=remove_leftovers):
        pass
    assert (tmp_path / ".output.killed").exists() == (not remove_leftovers)
    assert (tmp_path / ".other.killed").exists()


def test_digests_have_the_formats_of_manifests_and_of_google(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"123456789")
    assert file_sha256(path) == hashlib.sha256(b"123456789").hexdigest()
    assert file_crc32c(path) == base64.b64encode(0xE3069283.to_bytes(4, "big")).decode()
