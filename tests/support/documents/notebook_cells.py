"""Runs the code cells of a notebook in order, without Jupyter, and shows what each one printed.

As a module it takes the notebook's path, and prints one JSON object per code cell: `printed`, its
standard output, and `shown`, the type and the SVG text (or None) of its last expression.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]


def read_cells(notebook: Path, kind: str = "code") -> list[JsonObject]:
    """The cells of one kind, as they are in the file."""
    document = json.loads(notebook.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == kind]


def run_cell(source: str, name: str, variables: JsonObject) -> JsonObject:
    """Execute a cell; its last expression is what a notebook would show."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), name, "exec"), variables)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), variables)
    render_svg = getattr(value, "_repr_svg_", None)
    svg = render_svg() if render_svg else None
    shown = None if value is None else {"type": type(value).__name__, "svg": svg}
    return {"printed": printed.getvalue(), "shown": shown}


def main(notebook: Path) -> None:
    """Run all code cells in one namespace."""
    variables: JsonObject = {"__name__": "__main__"}
    for number, cell in enumerate(read_cells(notebook)):
        print(json.dumps(run_cell("".join(cell["source"]), f"<cell {number}>", variables)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
