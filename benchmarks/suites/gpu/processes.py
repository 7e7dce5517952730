"""The processes of the suite, each with the GPUs that it may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.config.environment import ENV_GPUS
from components.gpu.assignment import CUDA_VISIBLE_DEVICES

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 3600
_TAIL_LINES = 15


@dataclass(frozen=True)
class Devices:
    """`gpus` as CUDA_VISIBLE_DEVICES takes them; without any, two logical CPU devices."""

    gpus: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Devices that can have a replica each."""
        return len(self.gpus) or 2

    @property
    def logical_devices(self) -> list[str]:
        """Arguments of a process that uses all devices."""
        return [] if self.gpus else [str(self.count)]

    def build_variables(self, first: int = 0, count: int = 1) -> dict[str, str]:
        """The environment of a process that uses these devices: it fails if it sees fewer.

        Two processes of a comparison are on one GPU, so none takes all of its memory.
        """
        if not self.gpus:
            return {CUDA_VISIBLE_DEVICES: ""}
        return {
            CUDA_VISIBLE_DEVICES: ",".join(self.gpus[first : first + count]),
            ENV_GPUS: str(count),
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }


@dataclass(frozen=True)
class Process:
    """`python -m module arguments`; its errors and log lines go to `log`."""

    module: str
    arguments: Sequence[object]
    environment: Mapping[str, str]
    log: Path


def run_processes(*processes: Process) -> list[str]:
    """Run them at the same time; what each prints. RuntimeError if one fails, with its last lines.

    If one fails, the others are ended.
    """
    running = [_start_process(process) for process in processes]
    try:
        outputs = [child.communicate(timeout=TIMEOUT_SECONDS)[0] for child in running]
    finally:
        for child in running:
            child.kill()
            child.wait()
    for process, child in zip(processes, running, strict=True):
        if child.returncode:
            raise RuntimeError(
                f"{process.module} ended with exit code {child.returncode}; the end of "
                f"{process.log}: {read_tail(process.log)}"
            )
    return outputs


def read_tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


def _start_process(process: Process) -> subprocess.Popen[str]:
    process.log.parent.mkdir(parents=True, exist_ok=True)
    with process.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", process.module, *map(str, process.arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **process.environment},
        )
