"""The code tour and the recipes name files, functions and modules that exist."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "developer-guide"
TOUR = (GUIDE / "code-tour.md").read_text(encoding="utf-8")
RECIPES = (GUIDE / "extending.md").read_text(encoding="utf-8")
STOP = re.compile(
    r"^### \d+\. \[[^\]]+\]\(\.\./\.\./(\S+)\)\n(?:(?!^#).*\n)*?\*\*Look at:\*\* (.+)", re.MULTILINE
)
IN_FILE = re.compile(r"`([A-Za-z_.]+)`[^`.]*\sin\s+`([\w/]+\.py)`")


def read_definitions(file: str) -> set[str]:
    """Names of the functions, classes, methods and variables that a source file defines."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
    return names


def find_stops() -> list[tuple[str, list[str]]]:
    """File and names of each stop of the tour."""
    return [(file, re.findall(r"`(\w+)`", names)) for file, names in STOP.findall(TOUR)]


def find_recipe_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", RECIPES, re.DOTALL)


def find_created_modules() -> set[str]:
    """Modules that a recipe writes: `In `path`:` directly above a block."""
    files = re.findall(r"[Ii]n\s+`([\w/]+\.py)`:\n\n```python", RECIPES)
    return {file.removesuffix(".py").replace("/", ".") for file in files}


def find_imports(code: str) -> Iterator[tuple[str, str]]:
    """Module and name of each import from kubert."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            ("components", "pipeline", "tests")
        ):
            for alias in node.names:
                yield node.module or "", alias.name


def exists(module: str, name: str) -> bool:
    """Whether a module defines the name, or is a package with a module of that name."""
    file = module.replace(".", "/") + ".py"
    package = ROOT / module.replace(".", "/")
    if (ROOT / file).exists():
        source = (ROOT / file).read_text(encoding="utf-8")
        return name in read_definitions(file) or re.search(rf"\b{name}\b", source) is not None
    return (package / f"{name}.py").exists() or (
        package.is_dir() and name in (package / "__init__.py").read_text(encoding="utf-8")
    )


def test_the_tour_has_ten_stops() -> None:
    assert len(find_stops()) == 10
    assert all(names for _, names in find_stops())


@pytest.mark.parametrize(("file", "names"), find_stops(), ids=[file for file, _ in find_stops()])
def test_what_to_look_at_is_in_the_file(file: str, names: list[str]) -> None:
    assert [name for name in names if name not in read_definitions(file)] == []


def test_functions_of_the_walk_are_in_the_files_named_for_them() -> None:
    found = IN_FILE.findall(TOUR)
    assert len(found) > 10
    missing = [
        f"{name} in {file}"
        for name, file in found
        if not set(name.split(".")) <= read_definitions(file)
    ]
    assert missing == []


def test_imports_of_the_recipes_exist() -> None:
    created = find_created_modules()
    assert len(created) >= 5
    missing = [
        f"from {module} import {name}"
        for code in find_recipe_blocks()
        if code.startswith(('"""', "from", "def", "@"))
        for module, name in find_imports(code)
        if module not in created and f"{module}.{name}" not in created and not exists(module, name)
    ]
    assert missing == []


def test_files_of_the_recipes_exist_or_are_created() -> None:
    created = {f"{module.replace('.', '/')}.py" for module in find_created_modules()}
    named = set(re.findall(r"`((?:components|pipeline|tests)/[\w/]+\.\w+)`", RECIPES))
    assert sorted(file for file in named - created if not (ROOT / file).exists()) == []


def test_modules_named_in_the_walk_can_be_imported() -> None:
    modules = re.findall(r"`((?:components|pipeline)(?:\.\w+)+)`", TOUR)
    assert modules
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
