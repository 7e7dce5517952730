"""The process that runs the compiled pipeline with kfp.local.

Usage: `python -m pipeline.local.kfp_process DIRECTORY`

`pipeline.local.runner` writes `run.json` ({"arguments", "artifacts", "cache"}) into DIRECTORY; this
process writes `pipeline.yaml` there. With "folds" and "only" in the file it runs these folds of a
cross-validation, with "cores" on these cores. A finished step is reused from KFP's cache only if
each of its artifacts with a manifest still verifies, file by file: KFP itself only checks that the
path exists.
The process and its steps end when the process that started them does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import dsl, local
from kfp.components import load_component_from_file
from kfp.local import subprocess_task_handler
from kfp.local.cache import LocalCache

from components.artifacts import manifest
from components.artifacts.artifact import verify_artifact
from components.errors import DataError
from components.progress import ProgressEvent, StepName, write_progress_event
from pipeline import definition
from pipeline.cross_validation import definition as folds_definition
from pipeline.cross_validation.task_names import parse_task_name

ARTIFACT_KINDS: dict[str, manifest.ArtifactKind] = {
    "shards": "token_shards",
    "fold_shards": "token_shards",
    "checkpoint": "checkpoint",
    "report": "report",
    "summary": "cross_validation",
}


def main(directory: Path) -> None:
    """Compile and run the pipeline; exceptions and the steps' output go to the standard streams."""
    _exit_with_parent()
    settings = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    if cores := settings.get("cores"):
        os.sched_setaffinity(0, cores)
    # kfp.local takes a folder called `docker` on the path for the package; no container is used
    # here.
    sys.modules["docker"] = None  # type: ignore[assignment]
    _verify_cached_outputs()
    _keep_arguments()
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=settings["artifacts"],
        workspace_root=str(directory / "workspace"),
        enable_caching=True,
        cache_root=settings["cache"],
    )
    compiled = directory / "pipeline.yaml"
    _compile(compiled, settings)
    load_component_from_file(str(compiled))(**settings["arguments"])


def _compile(path: Path, settings: Mapping[str, Any]) -> None:
    if folds := settings.get("folds"):
        folds_definition.compile_pipeline(path, folds=folds, only=settings["only"])
    else:
        definition.compile_pipeline(path)


def are_outputs_intact(outputs: dict[str, Any]) -> bool:
    """Whether each artifact with a manifest verifies; prints the first error otherwise."""
    try:
        for name in ARTIFACT_KINDS.keys() & outputs.keys():
            verify_artifact(Path(outputs[name].path), ARTIFACT_KINDS[name])
    except DataError as error:
        print(f"cached outputs are not reused: {error}", flush=True)
        return False
    return True


def _verify_cached_outputs() -> None:
    find_outputs = LocalCache.get

    def get(cache: LocalCache, key: str) -> dict[str, Any] | None:
        outputs: dict[str, Any] | None = find_outputs(cache, key)
        if outputs is None or not are_outputs_intact(outputs):
            return None
        paths = {
            name: output.path
            for name, output in outputs.items()
            if isinstance(output, dsl.Artifact)
        }
        step = StepName(parse_task_name(Path(next(iter(paths.values()))).parent.name).step)
        write_progress_event(ProgressEvent(step, kind="reused", outputs=paths))
        return outputs

    LocalCache.get = get


def _keep_arguments() -> None:
    """Have KFP put this interpreter into a step's command only.

    It replaces `python3` in the step's arguments, too: in options such as a directory below
    lib/python3.11.
    """
    replace = subprocess_task_handler.replace_python_executable

    def replace_in_command(full_command: list[str], new_executable: str) -> list[str]:
        first = full_command.index("--executor_input")
        replaced: list[str] = replace(full_command[:first], new_executable)
        return replaced + full_command[first:]

    subprocess_task_handler.replace_python_executable = replace_in_command


def _exit_with_parent() -> None:
    """End this process group at the end of standard input, a pipe that the parent keeps open."""

    def wait_for_parent() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.killpg(os.getpgrp(), signal.SIGTERM)

    threading.Thread(target=wait_for_parent, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
