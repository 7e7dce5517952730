"""The table of environment variables is complete, and its constants are what the code uses."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from components.config import environment
from components.config.environment import ENVIRONMENT_VARIABLES, EnvironmentVariable

ROOT = Path(__file__).parents[3]
NAME = re.compile(r"\bKUBERT_[A-Z][A-Z_]*\b")
KUSTOMIZE_REPLACEMENTS = {"KUBERT_MODEL", "KUBERT_MODEL_NAME", "KUBERT_STATE"}
"""Values in k8s/ that kustomize replaces; no process sees them."""
TABLE = {variable.name for variable in ENVIRONMENT_VARIABLES}


def names_written_in(*folders: str) -> dict[str, str]:
    """Each KUBERT_ name that stands in a file of these folders, with one such file."""
    return {
        name: str(path.relative_to(ROOT))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
        for name in NAME.findall(path.read_text(encoding="utf-8", errors="ignore"))
    }


def test_every_name_in_the_sources_is_in_the_table() -> None:
    written = names_written_in("components", "pipeline", "docker", "k8s")
    unknown = written.keys() - TABLE - KUSTOMIZE_REPLACEMENTS
    assert {name: written[name] for name in unknown} == {}


def test_the_table_is_that_of_the_constants() -> None:
    constants = {value for name, value in vars(environment).items() if name.startswith("ENV_")}
    assert constants == TABLE
    assert len(TABLE) == len(ENVIRONMENT_VARIABLES)


def test_code_uses_the_constants() -> None:
    literals = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value}"
        for folder in ("components", "pipeline")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(environment.__file__)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in TABLE
    ]
    assert literals == []


@pytest.mark.parametrize("variable", ENVIRONMENT_VARIABLES, ids=lambda variable: variable.name)
def test_every_variable_is_described(variable: EnvironmentVariable) -> None:
    assert variable.description.endswith(".") and variable.default and variable.read_by
