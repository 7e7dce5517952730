"""A model server's directory: what is not finished never stays there."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import DataError, UsageError
from components.serving.model_directory import lock_directory, select_served_version


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != ".kubert-pull")


def test_what_a_killed_puller_left_is_gone_in_the_block(tmp_path: Path) -> None:
    (tmp_path / ".7.abc" / "variables").mkdir(parents=True)
    (tmp_path / "6").mkdir()
    with lock_directory(tmp_path):
        assert list_names(tmp_path) == ["6"]


def test_a_signal_between_two_instructions_of_a_pull_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lock_directory(tmp_path):
        (tmp_path / ".7.abc").mkdir()
        raise KeyboardInterrupt
    assert list_names(tmp_path) == []


def test_a_second_puller_is_refused(tmp_path: Path) -> None:
    with (
        lock_directory(tmp_path),
        pytest.raises(UsageError, match="another pull is at work"),
        lock_directory(tmp_path),
    ):
        pass


def test_a_directory_without_versions_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no version.*kubert pull STORE/NAME"):
        select_served_version(tmp_path)
