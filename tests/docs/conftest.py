"""A work directory with a finished run of the quickstart configuration, made once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.documents.page_directory import create_page_directory, page_environment


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which `kubert run` was run with a terminal of no width of its own."""
    directory = tmp_path_factory.mktemp("quickstart")
    create_page_directory(directory, None)
    ended = subprocess.run(
        ["kubert", "run"],
        cwd=directory,
        env=page_environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout
    (directory / "output.txt").write_text(ended.stdout, encoding="utf-8")
    return directory
