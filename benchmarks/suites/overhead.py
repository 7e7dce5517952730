"""The overhead of a pipeline run beside the work of its steps, and the cost of a cached rerun.

    python -m benchmarks.suites.overhead --data DIR --workdir DIR

runs `kubert run` on the built-in sample in a new directory, then the same command again. A step's
work is the duration of its component's body, from its `finished` event, less the time of import
statements in its process or in the worker's, as recorded by `import_probe`. The overhead is the
first run's wall time less the work of the five steps: the command itself, compilation, KFP's
runner, process starts and imports. The start of the training worker's interpreter (tens of
milliseconds) counts as work.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.harness.single import run_single

ROOT = Path(__file__).parents[2]
STEPS = ("tokenize", "train", "evaluate", "gate", "export")
HELP_CALLS = 9


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one step's body and of the imports in it; both are 0 for a cached step."""

    name: str
    body: float
    imports: float

    @property
    def work(self) -> float:
        """Seconds without imports."""
        return self.body - self.imports


@dataclass(frozen=True)
class TimedRun:
    """One `kubert run`: wall seconds from its start to its end, and its steps."""

    wall: float
    steps: tuple[StepTimes, ...]

    @property
    def overhead(self) -> float:
        """Wall seconds in which no step worked."""
        return self.wall - sum(step.work for step in self.steps)


def time_run(workdir: Path) -> TimedRun:
    """Run the sample's pipeline in `workdir`; SystemExit if it does not release a model."""
    with tempfile.TemporaryDirectory() as temporary:
        times = Path(temporary) / "imports.jsonl"
        before = set((workdir / "runs").glob("*"))
        started = time.monotonic()
        done = _run_kubert(
            ["run", "--workdir", str(workdir), "--json"], {"KUBERT_IMPORT_TIMES": str(times)}
        )
        wall = time.monotonic() - started
        if done.returncode:
            raise SystemExit(f"kubert run: exit code {done.returncode}\n{done.stderr[-2000:]}")
        (run,) = set((workdir / "runs").glob("*")) - before
        imports = [json.loads(line) for line in times.read_text(encoding="utf-8").splitlines()]
    events = [
        json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    finished = {event["step"]: event for event in events if event.get("kind") == "finished"}
    return TimedRun(wall, tuple(_step_times(name, finished.get(name), imports) for name in STEPS))


def _step_times(name: str, finished: dict | None, imports: list[dict]) -> StepTimes:
    if finished is None:
        return StepTimes(name, 0.0, 0.0)
    end, body = finished["time"], finished["seconds"]
    inside = [item["seconds"] for item in imports if end - body <= item["began"] <= end]
    return StepTimes(name, body, sum(inside))


def time_help() -> list[float]:
    """Wall seconds of each `kubert --help`, after one that is not counted."""
    seconds = []
    for _ in range(HELP_CALLS + 1):
        started = time.monotonic()
        _run_kubert(["--help"], {})
        seconds.append(time.monotonic() - started)
    return seconds[1:]


def _run_kubert(
    arguments: list[str], variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        **variables,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "benchmarks/harness/import_probe"))),
    }
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def run_suite(data: Path, workdir: Path) -> BenchmarkReport:
    """Measure both runs; `data` is not needed."""
    directory = Path(tempfile.mkdtemp(prefix="overhead-", dir=workdir))
    load = os.getloadavg()[0]
    fresh, again = time_run(directory), time_run(directory)
    helps = time_help()
    rows = tuple(
        (name, *(f"{value:.2f}" for step in pair for value in (step.body, step.imports, step.work)))
        for name, pair in zip(STEPS, zip(fresh.steps, again.steps, strict=True), strict=True)
    )
    columns = (
        "step",
        "fresh: body s",
        "imports s",
        "work s",
        "again: body s",
        "imports s",
        "work s",
    )
    whole = (
        ("`kubert run`, fresh", f"{fresh.wall:.1f}", f"{fresh.overhead:.1f}"),
        ("`kubert run` again, nothing changed", f"{again.wall:.1f}", f"{again.overhead:.1f}"),
        ("`kubert --help`, median", f"{statistics.median(helps):.3f}", "-"),
    )
    return BenchmarkReport(
        "Overhead of the pipeline",
        {"pipeline_overhead_s": round(fresh.overhead, 2), "cached_rerun_s": round(again.wall, 2)},
        (
            Table("Steps of a run of the built-in sample", columns, rows),
            Table("Commands", ("command", "wall s", "beside the work s"), whole),
        ),
        (
            "A step's work is the duration of its body less its imports; "
            "a step with 0 seconds was cached.",
            f"Load average before the first run: {load:.1f} on {os.cpu_count()} cores.",
        ),
    )


if __name__ == "__main__":
    run_single("overhead", __doc__, run_suite)
