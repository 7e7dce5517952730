"""Names and sizes of files and folders: one idea per file, short enough to read in one go."""

from __future__ import annotations

import itertools
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("components", "pipeline", "tests", "benchmarks", "docker", "docs")
VAGUE_NAMES = {
    "base",
    "common",
    "core",
    "helper",
    "helpers",
    "lib",
    "manager",
    "misc",
    "util",
    "utils",
}
MAX_LINES = 400
MAX_MODULES = 12
MAX_COLUMNS = 100


def find_sources() -> list[Path]:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert files
    return files


def has_vague_name(path: Path) -> bool:
    """Whether a file or folder of the path is named for nothing in particular."""
    return not VAGUE_NAMES.isdisjoint(part.removesuffix(".py") for part in path.parts)


def find_crowded_folders(files: Iterable[Path]) -> dict[str, int]:
    """Folders with more than MAX_MODULES modules, `__init__.py` not counted, and how many."""
    counts = Counter(str(path.parent) for path in files if path.name != "__init__.py")
    return {folder: count for folder, count in counts.items() if count > MAX_MODULES}


def test_no_file_or_folder_has_a_vague_name() -> None:
    assert [str(p) for p in find_sources() if has_vague_name(p.relative_to(ROOT))] == []


def test_no_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in find_sources()
    }
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_folder_is_crowded() -> None:
    assert find_crowded_folders(path.relative_to(ROOT) for path in find_sources()) == {}


def test_every_module_has_a_docstring() -> None:
    shipped = [
        path
        for path in find_sources()
        if path.relative_to(ROOT).parts[0] in ("components", "pipeline")
    ]
    missing = [
        str(path)
        for path in shipped
        if not path.read_text(encoding="utf-8").startswith(('"""', 'r"""'))
    ]
    assert missing == []


def test_line_length_and_error_names_are_checked_by_the_linter() -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert ruff["line-length"] == MAX_COLUMNS
    assert {"E", "N"} <= set(ruff["lint"]["select"])
    per_file = ruff["lint"]["per-file-ignores"].values()
    ignored = {*ruff["lint"]["ignore"], *itertools.chain.from_iterable(per_file)}
    assert ignored.isdisjoint({"E", "E501", "N", "N818"})


@pytest.mark.parametrize(
    ("path", "is_vague"),
    [("components/train/utils.py", True), ("pipeline/core/x.py", True), ("a/store.py", False)],
)
def test_the_rule_about_vague_names(path: str, is_vague: bool) -> None:
    assert has_vague_name(Path(path)) == is_vague


def test_the_rule_about_crowded_folders() -> None:
    files = [Path("a/__init__.py"), *(Path(f"a/m{index}.py") for index in range(MAX_MODULES))]
    assert find_crowded_folders(files) == {}
    assert find_crowded_folders([*files, Path("a/one_more.py")]) == {"a": MAX_MODULES + 1}
