"""Layers: a module imports only from lower layers; each outside library has one user."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = (
    "tokenize_text",
    "train",
    "evaluate",
    "gate",
    "export",
    "cross_validation",
    "serving",
    "batch_prediction",
)
CALLED_BY_COMMANDS = ("serving", "batch_prediction")
LAYERS = {
    "components": 1,
    "components.errors": 1,
    "components.config.environment": 1,
    "components.progress": 1,
    "components.redaction": 1,
    "components.retrying": 1,
    "components.logging_config": 1,
    "components.gc_disabled_import": 1,
    "components.config": 2,
    "components.gpu": 2,
    "components.storage": 2,
    "components.kubernetes_client": 2,
    "components.data": 3,
    "components.artifacts": 4,
    "components.confidence": 5,
    "components.registry": 5,
    "components.model": 5,
    "components.workers": 6,
    "components.explain": 6,
    "components.scoring": 7,
    "components.step_command": 7,
    "components.step_runtime": 7,
    "components.input_validation": 7,
    "components.step_supervisor": 7,
    **{f"components.{step}": 8 for step in STEPS},
    "pipeline": 9,
    "pipeline.local": 10,
    "pipeline.kubeflow": 10,
    "pipeline.doctor": 11,
    "pipeline.api": 12,
    "pipeline.cli": 13,
}
"""Layer of each module; one that is not listed has the layer of the package it belongs to."""
TENSORFLOW = {
    "tensorflow",
    "tf_keras",
    "tensorflow_text",
    "tensorflow_hub",
    "tensorflow_datasets",
    "official",
}
STORAGE = {"google", "gcsfs", "s3fs", "boto3", "botocore", "aiobotocore", "fsspec"}


@dataclass(frozen=True)
class Import:
    """One import: the module it names, and whether it is inside a function."""

    file: Path
    line: int
    module: str
    in_function: bool

    @property
    def top_level(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def parse_imports(file: Path, text: str) -> Iterator[Import]:
    tree = ast.parse(text)
    in_functions = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = [module] if node.level else [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, name, id(node) in in_functions)


def read_imports(*folders: str) -> list[Import]:
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    assert files
    return [
        item for file in files for item in parse_imports(file, file.read_text(encoding="utf-8"))
    ]


def find_layer(module: str) -> tuple[str, int]:
    """The listed module or package that `module` belongs to, and its layer."""
    parts = module.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    name = next(prefix for prefix in prefixes if prefix in LAYERS)
    return name, LAYERS[name]


def name_module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def imports_upwards(item: Import) -> bool:
    """Whether it imports from a higher layer, or a step from another step."""
    if item.top_level not in ("components", "pipeline"):
        return False
    own, own_layer = find_layer(name_module(item.file))
    other, other_layer = find_layer(item.module)
    is_other_step = own_layer == other_layer == LAYERS["components.train"] and own != other
    return other_layer > own_layer or is_other_step


def test_imports_are_absolute() -> None:
    assert [
        str(item) for item in read_imports("components", "pipeline") if item.module.startswith(".")
    ] == []


def test_no_module_imports_upwards_and_no_step_another_step() -> None:
    imports = read_imports("components", "pipeline")
    assert [str(item) for item in imports if imports_upwards(item)] == []


def test_components_import_neither_kfp_nor_the_pipeline() -> None:
    assert [
        str(item) for item in read_imports("components") if item.top_level in ("kfp", "pipeline")
    ] == []


def test_the_pipeline_imports_no_tensorflow() -> None:
    assert [str(item) for item in read_imports("pipeline") if item.top_level in TENSORFLOW] == []


def test_the_pipeline_calls_steps_only_in_kfp_components() -> None:
    steps = {
        "components.model",
        *(f"components.{step}" for step in {*STEPS} - {*CALLED_BY_COMMANDS}),
    }
    calls = [
        item
        for item in read_imports("pipeline")
        if item.top_level == "components" and find_layer(item.module)[0] in steps
    ]
    assert calls
    assert [
        str(item) for item in calls if item.file.name != "kfp_components.py" or not item.in_function
    ] == []


@pytest.mark.parametrize(
    "module",
    [
        "components.gate.step",
        "components.export.step",
        "components.export.__main__",
        "components.train.step",
        "pipeline.cli.main",
    ],
)
def test_a_module_that_need_not_compute_does_not_import_tensorflow(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({TENSORFLOW!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_only_storage_imports_the_clients_of_object_storage() -> None:
    clients = [
        item
        for item in read_imports("components", "pipeline")
        if item.top_level in STORAGE and not item.module.startswith("google.protobuf")
    ]
    store = ROOT / "components" / "storage"
    assert clients
    assert [str(item) for item in clients if store not in item.file.parents] == []


@pytest.mark.parametrize(
    ("file", "line", "is_wrong"),
    [
        pytest.param(
            "components/artifacts/x.py", "from components.model import encoders", True, id="up"
        ),
        pytest.param(
            "components/train/x.py", "from components.evaluate import step", True, id="sideways"
        ),
        pytest.param(
            "components/train/x.py", "import components.train.loop.epochs", False, id="own"
        ),
        pytest.param(
            "components/train/x.py", "from components.config import schema", False, id="down"
        ),
        pytest.param(
            "components/progress.py",
            "from components.config.environment import ENV_PROGRESS",
            False,
            id="environment-is-below-config",
        ),
        pytest.param(
            "components/progress.py", "from components.config import schema", True, id="config"
        ),
        pytest.param(
            "components/config/environment.py",
            "from components.config.section import Section",
            True,
            id="environment-imports-nothing",
        ),
        pytest.param(
            "pipeline/kubeflow/x.py", "from pipeline.cli import tables", True, id="client-to-cli"
        ),
        pytest.param(
            "pipeline/cli/x.py", "from components.errors import ExitCode", False, id="cli-down"
        ),
        pytest.param(
            "components/config/schema.py", "from components import train", True, id="config-to-step"
        ),
    ],
)
def test_the_rule_about_layers(file: str, line: str, is_wrong: bool) -> None:
    assert [imports_upwards(item) for item in parse_imports(ROOT / file, line)] == [is_wrong]
