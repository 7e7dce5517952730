"""Runs the train step's launcher as a process, watches it and finds its workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from components.artifacts import checkpoint as checkpoints
from components.artifacts.checkpoint import CheckpointContent

PATIENCE = 240.0


def wait_for(find_workers: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer of `found`, or an AssertionError that says what never came."""
    deadline = time.monotonic() + seconds
    while not (answer := find_workers()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)
    return answer


def options(**train: Any) -> list[str]:
    """Arguments for `--set`: values as YAML (which JSON is a part of)."""
    return [
        argument
        for name, value in train.items()
        for argument in ("--set", f"{name.replace('__', '.')}={json.dumps(value)}")
    ]


@dataclass(frozen=True)
class Ended:
    """How the launcher ended."""

    code: int
    output: str


class TrainLauncher:
    """A running `python -m components.train`."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes]) -> None:
        self.home, self.process = home, process

    def events(self) -> list[dict[str, Any]]:
        """The progress so far."""
        path = self.home / "progress.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def wait_for_step(self, step: int) -> None:
        """Return when a checkpoint of this step, or a later one, was sealed."""
        wait_for(lambda: self._running() and last_step(self.home) >= step, f"step {step}")

    def workers(self, count: int) -> dict[int, psutil.Process]:
        """The workers by rank, when all of them have started."""

        def find_workers() -> dict[int, psutil.Process]:
            alive = {}
            for process in psutil.Process(self.process.pid).children():
                try:
                    task = json.loads(process.environ().get("TF_CONFIG", "{}"))
                    alive[task["task"]["index"]] = process
                except (psutil.Error, KeyError):
                    continue
            return alive if len(alive) == count else {}

        answer: dict[int, psutil.Process] = wait_for(
            lambda: self._running() and find_workers(), f"{count} workers"
        )
        return answer

    def wait(self) -> Ended:
        """Wait for the launcher's end."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        return Ended(self.process.returncode, output.decode())

    def _running(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the launcher ended: {self.wait()}")
        return True


@contextmanager
def launch(
    home: Path,
    shards: Path | str,
    arguments: list[str],
    *,
    output: str = "checkpoint",
    scratch: str = "",
    **environment: str,
) -> Iterator[TrainLauncher]:
    """Train into `home/<output>` with the state in `scratch`; no process outlives the block."""
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "components.train", "--shards", str(shards)]
    command += [
        "--output",
        str(home / output),
        "--scratch",
        scratch or str(home / "scratch"),
        *arguments,
    ]
    process = subprocess.Popen(
        command,
        env={**os.environ, "KUBERT_PROGRESS": str(home / "progress.jsonl"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    launcher = TrainLauncher(home, process)
    try:
        yield launcher
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            psutil.wait_procs(children, timeout=30)  # the kernel kills them with it


def train(
    home: Path, shards: Path, arguments: list[str], *, output: str = "checkpoint"
) -> CheckpointContent:
    """Train undisturbed to the end; what the finished checkpoint says of itself."""
    with launch(home, shards, arguments, output=output) as launcher:
        ended = launcher.wait()
    assert ended.code == 0, ended.output
    return checkpoints.open_checkpoint(home / output).content


def work(home: Path) -> Path:
    """The one run's state below `home/scratch`."""
    (find_workers,) = [path.parent for path in (home / "scratch").glob("*/job.json")]
    return find_workers


def last_step(home: Path) -> int:
    """The step of the newest periodic checkpoint below `home/scratch`; 0 without any."""
    find_workers = [
        step
        for root in (home / "scratch").glob("*/checkpoints")
        for step, _ in checkpoints.list_periodic_checkpoints(root)
    ]
    return max(find_workers, default=0)


def weights(checkpoint: Path) -> dict[str, npt.NDArray[Any]]:
    """Every variable of a finished checkpoint by name."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(checkpoint / checkpoints.WEIGHTS_PREFIX))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: np.asarray(reader.get_tensor(name)) for name in names}
