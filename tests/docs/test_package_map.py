"""The concept pages: the package map, the layers, and that the code they name exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from components.config.environment import ENVIRONMENT_VARIABLES
from components.config.schema import Config
from tests.contracts.test_layers import LAYERS

ROOT = Path(__file__).parents[2]
CONCEPTS = ROOT / "docs" / "concepts"
ARCHITECTURE = CONCEPTS / "architecture.md"
PAGES = sorted(CONCEPTS.glob("*.md"))
FOREIGN_NAMES = {
    "AdamWeightDecay",
    "BlockingRecreate",
    "DisruptionTarget",
    "FailJobSet",
    "IndexedSlices",
    "JobSet",
    "MultiWorkerMirroredStrategy",
    "RestartJobSet",
    "RestartJobSetAndIgnoreMaxRestarts",
    "TF_CONFIG",
    "TensorBoard",
    "TensorFlow",
    "UnavailableError",
    "made_up_to",
}
"""Names of TensorFlow, Model Garden, Kubernetes and JobSet, and names of stored tensors."""


def find_package_folders() -> set[str]:
    files = [path for top in ("components", "pipeline") for path in (ROOT / top).rglob("*.py")]
    assert files
    return {f"{path.parent.relative_to(ROOT).as_posix()}/" for path in files}


def read_table(heading: str) -> list[tuple[str, str]]:
    """The rows of the two-column table below a heading of the architecture page."""
    section = ARCHITECTURE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    section = section.split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE)
    return rows[1:] if rows[0][0] in ("folder", "layer") else rows


@cache
def find_defined_names() -> frozenset[str]:
    """Classes, functions, arguments, variables, attributes and modules of the code and the tests,
    options and environment variables."""
    names = {name for section in Config.model_fields for name in _list_options(section)}
    names |= {variable.name for variable in ENVIRONMENT_VARIABLES}
    for top in ("components", "pipeline", "tests"):
        for path in (ROOT / top).rglob("*.py"):
            names |= {path.stem, path.parent.name}
            names |= set(_list_identifiers(ast.parse(path.read_text(encoding="utf-8"))))
    return frozenset(names)


def _list_options(section: str) -> Iterator[str]:
    yield section
    yield from getattr(Config(), section).__class__.model_fields


def _list_identifiers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr


@cache
def find_members() -> dict[str, set[str]]:
    """The names in the body of each class, by the name of the class."""
    members: dict[str, set[str]] = {}
    for top in ("components", "pipeline"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    members.setdefault(node.name, set()).update(_list_identifiers(node))
    return members


def list_code_names(text: str) -> list[str]:
    """What reads as a name of code in the sequence diagrams and the code spans of a page."""
    diagrams = [
        block
        for block in re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
        if block.startswith("sequenceDiagram")
    ]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [span.removesuffix("()") for span in re.findall(r"`([^`]+)`", outside)]
    spans = [span for span in spans if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", span)]
    words = re.findall(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", "\n".join([*diagrams, *spans]))
    return [word for word in words if _reads_as_code(word)]


def _reads_as_code(word: str) -> bool:
    last = word.rpartition(".")[2]
    is_camel_case = re.fullmatch(r"[A-Z]+[a-z]+\w*[A-Z]\w*", last) is not None
    return "_" in last.strip("_") or is_camel_case


def is_defined(name: str) -> bool:
    """Whether each part of a dotted name exists; of `Class.member`, the member in the class."""
    parts = name.split(".")
    owner, last = (parts[-2], parts[-1]) if len(parts) > 1 else ("", parts[-1])
    if owner in find_members():
        return last in find_members()[owner]
    return last in find_defined_names() | FOREIGN_NAMES


def test_each_package_folder_has_one_line_in_the_map() -> None:
    folders = [cell.strip("`") for cell, _ in read_table("Package map")]
    assert folders == sorted(find_package_folders())


def test_the_table_of_layers_is_the_one_that_imports_are_checked_against() -> None:
    modules = {
        module: int(layer)
        for layer, cell in read_table("Layers")
        for module in re.findall(r"`([\w.]+)`", cell)
    }
    assert modules == LAYERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_that_a_page_names_exists(page: Path) -> None:
    names = list_code_names(page.read_text(encoding="utf-8"))
    assert names
    assert [name for name in dict.fromkeys(names) if not is_defined(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_that_a_page_names_exist(page: Path) -> None:
    sections = "|".join(Config.model_fields)
    found = re.findall(rf"`(?:({sections})\.(\w+))[=`]", page.read_text(encoding="utf-8"))
    assert [
        f"{section}.{option}"
        for section, option in found
        if option not in getattr(Config(), section).__class__.model_fields
        and not (ROOT / "components" / section / f"{option}.py").exists()
        and not (ROOT / "components" / section / option).is_dir()
    ] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("plan_epoch", True, id="function"),
        pytest.param("TrainingData.plan_epoch", True, id="method"),
        pytest.param("TrainingData.read_padded", False, id="method-of-another-class"),
        pytest.param("plan_epochs", False, id="no-such-function"),
        pytest.param("components.train.loop.batch_plan", True, id="module"),
        pytest.param("train.keep_checkpoints", True, id="option"),
    ],
)
def test_the_rule_about_names(name: str, expected: bool) -> None:
    assert is_defined(name) is expected
