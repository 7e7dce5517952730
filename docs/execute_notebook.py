"""Runs a notebook in a kernel of its own, and stores its outputs: `make notebook`.

    python -m docs.execute_notebook [NOTEBOOK]

The outputs are those of one run of all cells in a new, empty directory. What other programs print
on standard error is left out. The notebook's metadata have the digest of the cells that were run,
so that a test finds outputs of other cells.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ATTENTION = Path(__file__).parents[1] / "examples" / "attention.ipynb"
MAX_START_SECONDS, MAX_CELL_SECONDS = 300, 1800
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "version": "3.11"},
}


class NotebookOutputError(Exception):
    """Outputs that must not be stored; the message says what is in them."""


def read_notebook(file: Path) -> Any:
    """The notebook; nbformat's ValidationError if it is none."""
    notebook = nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return notebook


def execute_notebook(notebook: Any, directory: Path) -> None:
    """Run all cells in a directory; nbclient's CellExecutionError if one fails."""
    settings = {**os.environ, "IPYTHONDIR": str(directory / ".ipython")}  # none of the user's
    NotebookClient(
        notebook,
        timeout=MAX_CELL_SECONDS,
        startup_timeout=MAX_START_SECONDS,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(directory)}},
    ).execute(env=settings)


def hash_code(notebook: Any) -> str:
    """SHA-256 (hex) of the source of all code cells."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def clean_outputs(notebook: Any, directory: Path) -> None:
    """Leave nothing in the notebook but its cells and what they gave.

    NotebookOutputError if the directory, or that of the interpreter, is named in an output.
    """
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    notebook.metadata = {**METADATA, "kubert": {"code_sha256": hash_code(notebook)}}
    outputs = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    for path in (directory, Path(sys.prefix), Path.home()):
        if str(path) in outputs:
            raise NotebookOutputError(f"an output has the path {path}")


def main(file: Path) -> None:
    """Run the notebook and store it in its place."""
    notebook = read_notebook(file)
    with tempfile.TemporaryDirectory() as work:
        execute_notebook(notebook, Path(work))
        clean_outputs(notebook, Path(work))
    nbformat.write(notebook, file)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ATTENTION)
