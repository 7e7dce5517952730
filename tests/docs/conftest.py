"""The directory in which the commands of a page run, with a finished `kubert run`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents.page_directory import (
    create_page_directory,
    list_file_versions,
    page_environment,
)


@pytest.fixture(scope="session")
def pages_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="session")
def quickstart(pages_directory: Path) -> Path:
    """The work directory of `kubert run`, which ran once."""
    directory = pages_directory / "kubert"
    create_page_directory(directory, None)
    ended = subprocess.run(
        ["kubert", "run"],
        cwd=directory,
        env=page_environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    assert ended.returncode == 0, ended.stdout
    (directory / ".kubert").rename(pages_directory / "finished")
    shutil.rmtree(directory)
    return pages_directory / "finished"


@pytest.fixture
def page_directory(quickstart: Path, pages_directory: Path) -> Iterator[Path]:
    """A directory for one page. It always has the path of that run, which steps are reused by."""
    directory = pages_directory / "kubert"
    create_page_directory(directory, quickstart)
    before = list_file_versions(quickstart)
    yield directory
    shutil.rmtree(directory)
    assert list_file_versions(quickstart) == before, "the page has written into shared files"
