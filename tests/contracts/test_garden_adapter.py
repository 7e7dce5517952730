"""`model/garden_adapter.py` alone depends on how Model Garden names the parts of its layers."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADAPTER = ROOT / "components" / "model" / "garden_adapter.py"
FOLDERS = ("components", "pipeline", "benchmarks", "tests")
GARDEN_SOURCES = {
    "official": (
        "nlp/modeling/layers/transformer_encoder_block.py",
        "nlp/modeling/layers/on_device_embedding.py",
        "nlp/modeling/layers/position_embedding.py",
        "nlp/modeling/networks/bert_encoder.py",
    ),
    "tf_keras": ("src/layers/attention/multi_head_attention.py",),
}


@cache
def garden_attributes() -> frozenset[str]:
    """Private attributes of the layers that kubert uses; their sources are read, not imported."""
    names = set()
    for package, files in GARDEN_SOURCES.items():
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        root = Path(next(iter(spec.submodule_search_locations)))
        for file in files:
            for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    names.add(node.attr)
    return frozenset(name for name in names if name.startswith("_"))


def find_accesses(text: str) -> Iterator[tuple[int, str]]:
    """Line and name of each access to a Model Garden layer's private attribute."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                if name in garden_attributes():
                    yield node.lineno, name


def test_private_attributes_of_model_garden_are_used_in_the_adapter_only() -> None:
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    assert ADAPTER in files
    found = [
        f"{file.relative_to(ROOT)}:{line} {name}"
        for file in files
        if file not in (ADAPTER, Path(__file__))
        for line, name in find_accesses(file.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_adapter_uses_such_attributes() -> None:
    names = {name for _, name in find_accesses(ADAPTER.read_text(encoding="utf-8"))}
    assert {"_attention_layer", "_query_dense", "_output_range", "_dropout_layer"} <= names


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        pytest.param("block._attention_layer.build()", True, id="attribute"),
        pytest.param("block._output_range = 1", True, id="assignment"),
        pytest.param("getattr(layer, '_query_dense')", True, id="by-name"),
        pytest.param("self._output_range = 1", False, id="own-attribute"),
        pytest.param("network.transformer_layers", False, id="public"),
    ],
)
def test_the_rule_about_accesses(code: str, is_found: bool) -> None:
    assert bool(list(find_accesses(code))) == is_found
