"""How each step's time, and the memory of tokenizing, grow with ten times the rows.

    python -m benchmarks.suites.growth --data DIR --workdir DIR [--rows N N ...]

DIR holds AG News as train.csv and test.csv. Each step runs as a command in a process of its own;
start-up and imports are included.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.baselines.growth_rows import write_csv_rows
from benchmarks.harness import single
from benchmarks.harness.report import BenchmarkReport, Table, format_report

ROOT = Path(__file__).parents[2]
ROWS = (10_000, 100_000, 1_000_000)
COLUMNS = ("data.header=false", "data.text=[1, 2]", "data.label=0")
SMALL = (
    *("model.encoder=scratch", "model.vocab_size=1000", "model.max_length=16"),
    *(
        "model.hidden_size=16",
        "model.intermediate_size=16",
        "model.num_heads=1",
        "train.epochs=1",
        "train.batch_size=256",
        "train.learning_rate=0.01",
    ),
)
GATE = (
    "import sys; from pathlib import Path; "
    "from components.config.schema import EvaluateConfig, ExportConfig; "
    "from components.gate.step import run; store, *paths = sys.argv[1:]; "
    "evaluate = EvaluateConfig(allow_unpredicted_classes=True); "
    "run(evaluate, ExportConfig(model_store=store), *map(Path, paths))"
)
TOKENIZE = "tokenize (MiniLM's vocabulary)"
SECONDS_BETWEEN_LOOKS = 0.02


class Cost(NamedTuple):
    """A command's CPU seconds with its children, wall seconds, and peak memory in MB."""

    cpu: float
    wall: float
    memory: float


def run_suite(data: Path, workdir: Path, rows: Sequence[int] = ROWS) -> BenchmarkReport:
    """Measure all steps for each number of rows; there are no figures, only a table."""
    costs = {
        (TOKENIZE, count): _measure_tokenize(data, workdir / "tokenize", count) for count in rows
    }
    for count in rows:
        costs |= {
            (step, count): cost
            for step, cost in _measure_steps(data, workdir / "steps", count).items()
        }
    lines = [
        line
        for step in dict.fromkeys(step for step, _ in costs)
        for line in _format_step(step, costs)
    ]
    growing = [
        (step, line)
        for step in dict.fromkeys(step for step, _ in costs)
        for line in _growth_factors(step, costs)
    ]
    worst = max(growing, key=lambda pair: pair[1])
    first, *_, last = (costs[TOKENIZE, count].memory for count in rows)
    return BenchmarkReport(
        "Growth",
        {},
        (
            Table(
                "Cost of each step by number of rows: its command as a process of its own, "
                "start-up and imports included; and the cost of each further thousand rows.",
                (
                    "step",
                    "rows",
                    "CPU s",
                    "seconds",
                    "CPU s against a tenth of the rows",
                    "CPU s per further 1,000 rows",
                    "peak memory, MB",
                ),
                tuple(lines),
            ),
        ),
        (
            "For ten times the rows, CPU or wall time grows at most "
            f"{worst[1]:.1f} times ({worst[0]}). Tokenizing {rows[-1]:,} rows needs "
            f"{last - first:+.0f} MB compared with {rows[0]:,} rows.",
            "The rows are those of AG News, repeated with a number in the title, so that all "
            "differ. A fifth of them is the test split.",
            "The steps after `tokenize` use the smallest model that has all parts, for one epoch: "
            f"{', '.join(SMALL)}. A larger model changes the seconds per row, not their growth. "
            "Export reads only the few rows that it checks the release with.",
            "Peak memory is the largest resident set of the command's own process; training "
            "workers are separate processes.",
        ),
    )


def _measure_tokenize(data: Path, home: Path, rows: int) -> Cost:
    source = _write_source(data, home, rows)
    return _measure_step(
        "tokenize_text",
        home,
        [f"data.source={source}", *COLUMNS, "model.encoder=minilm"],
        output=home / "shards",
    )


def _measure_steps(data: Path, home: Path, rows: int) -> dict[str, Cost]:
    source, store = _write_source(data, home, rows), home / "models"
    shards, checkpoint, report, decision = (
        home / name for name in ("shards", "checkpoint", "report", "decision.json")
    )
    options = [f"data.source={source}", *COLUMNS, *SMALL, f"export.model_store={store}"]
    return {
        "tokenize (vocabulary learned)": _measure_step(
            "tokenize_text", home, options, output=shards
        ),
        "train": _measure_step(
            "train", home, options, shards=shards, output=checkpoint, scratch=home / "scratch"
        ),
        "evaluate": _measure_step(
            "evaluate", home, options, shards=shards, checkpoint=checkpoint, output=report
        ),
        "gate": _measure_command(
            [sys.executable, "-c", GATE, str(store), str(shards), str(report), str(decision)], home
        ),
        "export": _measure_step(
            "export",
            home,
            options,
            shards=shards,
            checkpoint=checkpoint,
            report=report,
            decision=decision,
        ),
    }


def _write_source(data: Path, home: Path, rows: int) -> Path:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    write_csv_rows([data / "train.csv", data / "test.csv"], home / "rows.csv", rows)
    return home / "rows.csv"


def _measure_step(step: str, home: Path, options: Sequence[str], **directories: Path) -> Cost:
    command = [sys.executable, "-m", f"components.{step}"]
    command += [part for option in options for part in ("--set", option)]
    return _measure_command(
        command + [part for name, path in directories.items() for part in (f"--{name}", str(path))],
        home,
    )


def _measure_command(command: Sequence[str], home: Path) -> Cost:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KUBERT_PROGRESS": str(home / "progress")}
    memory, started = 0.0, time.monotonic()
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=home)
        while True:
            memory = max(memory, _read_peak_memory(process.pid))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(
            f"{' '.join(command)} ended with code {process.returncode}:\n"
            f"{(home / 'log').read_text(errors='replace')[-2000:]}"
        )
    return Cost(usage.ru_utime + usage.ru_stime, wall, memory)


def _read_peak_memory(process: int) -> float:
    """The largest resident set so far, in MB; 0 for a process that has ended."""
    found = re.search(
        r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(encoding="ascii")
    )
    return int(found[1]) / 1024 if found else 0.0


def _format_step(step: str, costs: dict[tuple[str, int], Cost]) -> list[tuple[str, ...]]:
    counts = sorted(count for name, count in costs if name == step)
    before: list[int | None] = [None, *counts[:-1]]
    return [
        _format_cost(step, count, costs[step, count], less, costs.get((step, less or 0)))
        for less, count in zip(before, counts, strict=True)
    ]


def _format_cost(
    step: str, rows: int, cost: Cost, less: int | None, earlier: Cost | None
) -> tuple[str, ...]:
    growth, further = "", ""
    if less is not None and earlier is not None:
        growth, further = (
            f"{cost.cpu / earlier.cpu:.1f} times",
            f"{1000 * (cost.cpu - earlier.cpu) / (rows - less):.4f}",
        )
    return (
        step,
        f"{rows:,}",
        f"{cost.cpu:.1f}",
        f"{cost.wall:.1f}",
        growth,
        further,
        f"{cost.memory:.0f}",
    )


def _growth_factors(step: str, costs: dict[tuple[str, int], Cost]) -> list[float]:
    counts = sorted(count for name, count in costs if name == step)
    pairs = [(costs[step, more], costs[step, less]) for less, more in itertools.pairwise(counts)]
    return [max(more.cpu / less.cpu, more.wall / less.wall) for more, less in pairs]


def main() -> None:
    """Print the chapter."""
    command = single.build_parser(__doc__)
    command.add_argument("--rows", type=int, nargs="+", default=ROWS)
    arguments = command.parse_args()
    print(format_report(run_suite(arguments.data, arguments.workdir, arguments.rows)))


if __name__ == "__main__":
    main()
