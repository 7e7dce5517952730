"""The compiled pipeline as it is: the same bytes each time, and nothing in it that is a secret or this machine's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

GOLDEN = Path(__file__).with_name("golden.yaml")
CANARY = "canary-5f1d"


def compile_to(path: Path, *arguments: str, **environment: str) -> dict:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KUBERT_")}
    command = [sys.executable, "-m", "pipeline.cli", "compile", *arguments, "-o", str(path)]
    subprocess.run(command, check=True, env={**clean, **environment}, capture_output=True, cwd=Path(__file__).parents[2])
    return next(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compile_to(path, GOOGLE_API_KEY=CANARY, AWS_SECRET_ACCESS_KEY=CANARY)
    return path


def test_the_pipeline_is_the_golden_one(compiled: Path) -> None:
    assert compiled.read_text(encoding="utf-8") == GOLDEN.read_text(encoding="utf-8"), (
        "the compiled pipeline has changed; if it should, refresh it: kubert compile quickstart -o tests/pipeline/golden.yaml"
    )


def test_a6_it_holds_no_secret_and_no_path_of_this_machine(compiled: Path) -> None:
    text = compiled.read_text(encoding="utf-8")
    for hidden in (CANARY, str(Path.home()), str(Path(__file__).parents[2]), sys.prefix, "/tmp/"):
        assert hidden not in text


def test_five_tasks_the_last_one_behind_the_gate(compiled: Path) -> None:
    spec = yaml.safe_load(compiled.read_text(encoding="utf-8"))
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {"tokenize", "train", "evaluate", "gate", "condition-1"}
    assert set(spec["components"]["comp-condition-1"]["dag"]["tasks"]) == {"export"}
    assert tasks["condition-1"]["triggerPolicy"]["condition"] == "inputs.parameter_values['pipelinechannel--gate-Output'] == true"
    cached = {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}
    assert cached == {"tokenize", "train", "evaluate"}
    assert "enableCache" not in spec["components"]["comp-condition-1"]["dag"]["tasks"]["export"]["cachingOptions"]


def test_every_parameter_is_optional_and_described(compiled: Path) -> None:
    spec = yaml.safe_load(compiled.read_text(encoding="utf-8"))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert {name for name, parameter in parameters.items() if not (parameter.get("description") and parameter["isOptional"])} == set()
    assert parameters["learning_rate"]["parameterType"] == "NUMBER_DOUBLE"
    assert parameters["epochs"]["parameterType"] == "NUMBER_INTEGER"


def test_nothing_is_installed_when_a_step_starts_and_all_run_in_one_image(tmp_path: Path) -> None:
    image = "images.example/kubert-train-python@sha256:" + "a" * 64
    spec = compile_to(tmp_path / "pipeline.yaml", KUBERT_TRAIN_IMAGE=image)
    executors = spec["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {image}
    assert not any("pip install" in part for executor in executors for part in executor["container"]["command"])


def test_a_configuration_becomes_the_parameters_defaults(tmp_path: Path) -> None:
    spec = compile_to(tmp_path / "pipeline.yaml", "ag_news_scratch", "--set", "train.precision=bfloat16")
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["encoder"]["defaultValue"] == "scratch"
    assert parameters["source"]["defaultValue"] == "train.csv"
    assert parameters["train"]["defaultValue"] == '{"precision": "bfloat16"}'
