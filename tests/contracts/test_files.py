"""Names and sizes: a file is named for its one idea, and is short enough to be read in one go."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMELESS = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "manager",
    "base",
    "core",
    "lib",
}
MOST_LINES = 400


def sources() -> list[Path]:
    files = [
        path
        for folder in ("components", "pipeline", "tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    assert files
    return files


def test_no_file_or_folder_is_named_for_nothing() -> None:
    assert [
        str(path)
        for path in sources()
        if NAMELESS & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
    ] == []


def test_no_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources()
    }
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_every_source_file_says_what_it_is_for() -> None:
    shipped = [
        path for path in sources() if path.relative_to(ROOT).parts[0] in ("components", "pipeline")
    ]
    assert [
        str(path)
        for path in shipped
        if not path.read_text(encoding="utf-8").startswith(('"""', 'r"""'))
    ] == []
