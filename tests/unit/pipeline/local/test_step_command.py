"""The commands of steps on this machine: this interpreter, and the options as they were given."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kfp.local import subprocess_task_handler

from pipeline.local import kfp_process

GOLDEN = Path(__file__).parents[3] / "integration" / "local" / "golden.yaml"
ARGUMENT = '{"encoder": "hf:/opt/lib/python3.11/model"}'


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A compiled step's command with its arguments, as KFP's runner replaces parts of it."""
    replace = subprocess_task_handler.replace_python_executable
    monkeypatch.setattr(subprocess_task_handler, "replace_python_executable", replace)
    kfp_process._keep_arguments()
    (pipeline, *_) = yaml.safe_load_all(GOLDEN.read_text(encoding="utf-8"))
    container = pipeline["deploymentSpec"]["executors"]["exec-train"]["container"]
    filled = [ARGUMENT if part == "{{$}}" else part for part in container["args"]]
    replaced: list[str] = subprocess_task_handler.replace_python_executable(
        [*container["command"], *filled], "/venv/bin/this-python"
    )
    return replaced


def test_the_step_runs_with_this_interpreter(command: list[str]) -> None:
    script = next(part for part in command if "kfp.dsl.executor_main" in part)
    assert "/venv/bin/this-python -m kfp.dsl.executor_main" in script


def test_an_option_with_python3_in_it_stays_as_it_is(command: list[str]) -> None:
    assert command[command.index("--executor_input") + 1] == ARGUMENT
