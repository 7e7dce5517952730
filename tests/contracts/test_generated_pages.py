"""The reference pages are those that the code generates now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def reference_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-m", "docs.generate_reference", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True)
    return directory


def test_every_reference_page_is_up_to_date(reference_pages: Path) -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in reference_pages.glob("*.md")}
    committed = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
    assert pages
    assert committed == pages, "run: make reference"
