"""The floors: no import runs back up, and each heavy or outside library is spoken to in one place only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = ("tokenize_text", "train", "evaluate", "gate", "export", "serving")
LAYERS = {
    "": 1,
    "errors": 1,
    "config.environment": 1,
    "progress": 1,
    "redaction": 1,
    "retrying": 1,
    "logging_config": 1,
    "gc_disabled_import": 1,
    "config": 2,
    "storage": 2,
    "kubernetes_client": 2,
    "data": 3,
    "artifacts": 4,
    "registry": 5,
    "model": 5,
    "workers": 6,
    "step_command": 7,
    "step_runtime": 7,
    **dict.fromkeys(STEPS, 8),
}
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
    """One import: the module it names, and whether it stands inside a function."""

    file: Path
    line: int
    module: str
    inside: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def imports_of(file: Path, text: str) -> Iterator[Import]:
    tree = ast.parse(text)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [base] if node.level else [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, name, id(node) in inside)


def found_in(folder: str) -> list[Import]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"no source files below {folder}"
    return [item for file in files for item in imports_of(file, file.read_text(encoding="utf-8"))]


def layer_of(parts: tuple[str, ...]) -> tuple[str, int]:
    names = [part.removesuffix(".py") for part in parts[1:3]]
    name = next((name for name in (".".join(names), *names[:1]) if name in LAYERS), "")
    return name, LAYERS[name]


def climbs(item: Import) -> bool:
    own, here = layer_of(item.file.relative_to(ROOT).parts)
    other, there = layer_of(tuple(item.module.split(".")))
    return item.top == "components" and (
        there > here or (there == here == LAYERS["train"] and other != own)
    )


def test_imports_are_absolute() -> None:
    assert [
        str(item)
        for item in found_in("components") + found_in("pipeline")
        if item.module.startswith(".")
    ] == []


def test_no_import_runs_back_up_and_no_verb_imports_another() -> None:
    assert [str(item) for item in found_in("components") if climbs(item)] == []


def test_components_import_neither_kfp_nor_the_pipeline() -> None:
    assert [str(item) for item in found_in("components") if item.top in ("kfp", "pipeline")] == []


def test_the_pipeline_imports_no_tensorflow() -> None:
    assert [str(item) for item in found_in("pipeline") if item.top in TENSORFLOW] == []


def test_the_pipeline_calls_steps_only_inside_the_shims() -> None:
    steps = {"tokenize_text", "train", "evaluate", "gate", "export", "model"}
    calls = [
        item
        for item in found_in("pipeline")
        if item.top == "components" and layer_of(tuple(item.module.split(".")))[0] in steps
    ]
    assert calls
    assert [
        str(item) for item in calls if item.file.name != "kfp_components.py" or not item.inside
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
def test_what_may_not_need_tensorflow_does_not_import_it(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({TENSORFLOW!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_object_storage_is_spoken_to_in_one_place() -> None:
    speakers = [
        item
        for item in found_in("components") + found_in("pipeline")
        if item.top in STORAGE and not item.module.startswith("google.protobuf")
    ]
    store = ROOT / "components" / "storage"
    assert speakers
    assert [str(item) for item in speakers if store not in item.file.parents] == []


@pytest.mark.parametrize(
    ("file", "line", "wrong"),
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
            "components/config/schema.py", "from components import train", True, id="ground-to-verb"
        ),
    ],
)
def test_the_floor_rule_itself(file: str, line: str, wrong: bool) -> None:
    assert [climbs(item) for item in imports_of(ROOT / file, line)] == [wrong]
