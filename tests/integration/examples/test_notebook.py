"""`quickstart.ipynb`: its code cells run in order, and its stored outputs are what they print."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents.notebook_cells import JsonObject, read_cells

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
MAX_BYTES = 60_000


def mask_numbers(text: str) -> str:
    """Text with every number as `#` and every run of spaces as one: figures differ by machine."""
    return re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?", "#", text)).strip()


def stored_text(cell: JsonObject) -> str:
    """What the cell printed when the notebook was saved."""
    streams = [output for output in cell["outputs"] if output["output_type"] == "stream"]
    assert {stream["name"] for stream in streams} <= {"stdout"}
    return "".join("".join(stream["text"]) for stream in streams)


def stored_figure(cell: JsonObject) -> str | None:
    """The SVG that the cell showed when the notebook was saved."""
    for output in cell["outputs"]:
        if output["output_type"] == "execute_result":
            return "".join(output["data"]["image/svg+xml"])
    return None


def test_the_stored_outputs_are_complete_small_and_name_no_machine() -> None:
    cells = read_cells(NOTEBOOK)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < MAX_BYTES
    assert re.search(r"/(home|root|var|tmp|work|Users)/", text) is None


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_cells_run_in_order_and_print_what_is_stored(tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(ROOT / "examples" / "data", folder / "data")
    shutil.copy(NOTEBOOK, folder)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.documents.notebook_cells", NOTEBOOK.name],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=800,
    )
    assert ended.returncode == 0, ended.stderr
    results: list[Any] = [json.loads(line) for line in ended.stdout.splitlines()]
    cells = read_cells(NOTEBOOK)
    assert len(results) == len(cells)
    for result, cell in zip(results, cells, strict=True):
        assert mask_numbers(result["printed"]) == mask_numbers(stored_text(cell))
        figure = stored_figure(cell)
        assert (result["shown"] is None) == (figure is None)
        for svg in [figure, result["shown"]["svg"]] if figure else []:
            assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert (folder / ".kubert" / "models" / "support" / "1").is_dir()
