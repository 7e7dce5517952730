"""The process in which kfp.local runs the compiled pipeline: `python -m pipeline.local.kfp_process DIRECTORY`.

DIRECTORY holds `run.json` ({"arguments", "artifacts", "cache"}), written by `pipeline.local.runner`, and receives `pipeline.yaml`. A finished
step is answered from KFP's own cache only if every sealed artifact it made still verifies, file by file: KFP itself
only looks whether the path exists. The process and its steps end when the one that started them does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from kfp import components, dsl, local
from kfp.local.cache import LocalCache

from components.artifacts import manifest
from components.artifacts.artifact import verify_artifact
from components.errors import DataError
from components.progress import ProgressEvent, StepName, write_progress_event
from pipeline import definition

ARTIFACT_KINDS: dict[str, manifest.ArtifactKind] = {
    "shards": "token_shards",
    "checkpoint": "checkpoint",
    "report": "report",
}


def main(directory: Path) -> None:
    """Compile, load and run the pipeline; exceptions and steps' output go to this process's standard streams."""
    _exit_with_parent()
    # kfp.local takes any folder called `docker` on the path for the package of that name; no container is started here.
    sys.modules["docker"] = None  # type: ignore[assignment]
    order = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    _verify_cached_outputs()
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=order["artifacts"],
        workspace_root=str(directory / "workspace"),
        enable_caching=True,
        cache_root=order["cache"],
    )
    compiled = directory / "pipeline.yaml"
    definition.compile_pipeline(compiled)
    components.load_component_from_file(str(compiled))(**order["arguments"])


def are_outputs_intact(outputs: dict[str, Any]) -> bool:
    """Whether every sealed artifact among a step's outputs verifies; the first fault is told on standard output."""
    try:
        for name in ARTIFACT_KINDS.keys() & outputs.keys():
            verify_artifact(Path(outputs[name].path), ARTIFACT_KINDS[name])
    except DataError as error:
        print(f"made again: {error}", flush=True)
        return False
    return True


def _verify_cached_outputs() -> None:
    find = LocalCache.get

    def get(cache: LocalCache, key: str) -> dict[str, Any] | None:
        outputs: dict[str, Any] | None = find(cache, key)
        if outputs is None or not are_outputs_intact(outputs):
            return None
        paths = {
            name: output.path
            for name, output in outputs.items()
            if isinstance(output, dsl.Artifact)
        }
        step = StepName(Path(next(iter(paths.values()))).parent.name)
        write_progress_event(ProgressEvent(step, kind="reused", outputs=paths))
        return outputs

    LocalCache.get = get


def _exit_with_parent() -> None:
    """Standard input is a pipe that only the starter holds open: its end means that the starter is gone."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.killpg(os.getpgrp(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
