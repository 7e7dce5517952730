"""The reference pages are those that the code generates now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docs.reference_pages.api_pages import API_PAGES

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def read_pages(directory: Path) -> dict[str, str]:
    """Path below the directory -> content of every page."""
    return {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8")
        for path in directory.rglob("*.md")
    }


@pytest.fixture(scope="module")
def reference_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-m", "docs.generate_reference", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True)
    return directory


def test_every_reference_page_is_up_to_date(reference_pages: Path) -> None:
    generated = read_pages(reference_pages)
    assert generated
    assert read_pages(REFERENCE) == generated, "run: make reference"


@pytest.mark.parametrize(
    "content",
    [
        "`train.epochs`",
        "`kubert schedule run-now`",
        "`KUBERT_ENDPOINT`",
        "### ReleaseContent",
        "::: components.registry.registry",
    ],
)
def test_reference_has(reference_pages: Path, content: str) -> None:
    assert any(content in page for page in read_pages(reference_pages).values())


def test_every_module_of_the_api_pages_exists() -> None:
    modules = [module for page in API_PAGES for module in page.modules]
    paths = [ROOT / module.replace(".", "/") for module in modules]
    assert [
        str(path) for path in paths if not path.is_dir() and not path.with_suffix(".py").is_file()
    ] == []
