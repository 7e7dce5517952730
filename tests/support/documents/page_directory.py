"""Directories in which pages run: the repository's entries and a work directory of their own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
LOCAL_ENTRIES = frozenset({".git", ".kubert", ".venv", ".venv-bench", "build", "dist"})
PAGES = (
    "README.md",
    "docs/getting-started.md",
    "docs/user-guide/*.md",
    "docs/operator-guide/*.md",
    "docs/developer-guide/*.md",
    "examples/README.md",
)


def find_pages(root: Path = ROOT) -> list[str]:
    """The pages whose commands are run, as paths below the repository."""
    return [str(path.relative_to(root)) for pattern in PAGES for path in sorted(root.glob(pattern))]


def create_page_directory(directory: Path, workdir: Path | None, root: Path = ROOT) -> None:
    """Link the repository's top-level entries and the environment; hard-link the work directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for entry in root.iterdir():
        if entry.name not in LOCAL_ENTRIES and not entry.name.endswith((".egg-info", "_cache")):
            (directory / entry.name).symlink_to(entry)
    environment = directory / ".venv"
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != ".installed":
            (environment / entry.name).symlink_to(entry)
    # Newer than the lock file: `make` does not install anything.
    (environment / ".installed").touch()
    if workdir is not None:
        ignored = shutil.ignore_patterns(".lock")  # is opened for writing by every run
        shutil.copytree(
            workdir, directory / ".kubert", symlinks=True, ignore=ignored, copy_function=os.link
        )


def page_environment(directory: Path) -> dict[str, str]:
    """The environment of the commands: `kubert` on PATH, no settings of whoever runs the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KUBERT_", "PYTEST_")) and name not in ("KUBECONFIG", "TF_CONFIG")
    }
    home = directory / ".home"
    home.mkdir(exist_ok=True)
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "HOME": str(home), "COLUMNS": "100", "TERM": "dumb"}


def list_file_versions(directory: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file: pages must not write into files that they share."""
    return {
        str(path.relative_to(directory)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
