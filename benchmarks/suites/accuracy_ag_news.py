"""AG News with the shipped configurations: one command per row of the table, two seeds each.

    python benchmarks/suites/accuracy_ag_news.py --data DIR --workdir DIR [--only ROW]...

DIR holds train.csv and test.csv (class 1-4, title, description; no header row). A row whose result
is already in the work directory is not run again; the table is written to
benchmarks/results/DATE_accuracy-ag-news_MACHINE.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KUBERT = [sys.executable, "-m", "pipeline.cli"]
HUB = (
    "model.encoder=hub:{hub}",
    "model.preprocessor=null",
    "model.pooling=mean",
    "train.epochs=2",
    "train.learning_rate=1e-4",
    "data.validation_fraction=0.05",
)
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    f"{name}-{seed}{suffix}": (config, (*options, f"train.seed={seed}"))
    for name, config, options, suffix, seeds in (
        ("scratch", "ag_news_scratch", (), "", (1, 2)),
        ("minilm-frozen", "ag_news_minilm_frozen", (), "", (1, 2)),
        ("minilm", "ag_news_minilm", (), "", (1, 2)),
        ("minilm", "ag_news_minilm", ("train.workers=2",), "-two-workers", (2,)),
        ("hub", "ag_news_hub", HUB, "", (1, 2)),
    )
    for seed in seeds
}


def build_command(row: str, workdir: Path) -> list[str]:
    """The command line of a row, without the interpreter."""
    config, options = ROWS[row]
    assignments = [
        part for option in options for part in ("--set", option.format(hub=workdir / "hub-encoder"))
    ]
    return ["run", config, *assignments, "--workdir", str(workdir / row), "--json"]


def run_row(row: str, data: Path, workdir: Path) -> None:
    """Run one row in the data directory and write its JSON line, with its CPU seconds."""
    if "hub" in row and not (workdir / "hub-encoder").exists():
        subprocess.run(
            [
                sys.executable,
                str(ROOT / "benchmarks/models/export_hub_encoder.py"),
                str(workdir / "hub-encoder"),
            ],
            check=True,
        )
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*KUBERT, *build_command(row, workdir)],
        cwd=data,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{row}: exit code {done.returncode}")
    result = json.loads(done.stdout.splitlines()[-1])
    result["wall_seconds"] = round(time.monotonic() - started, 1)
    result["cpu_seconds"] = round(
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
    )
    (workdir / f"{row}.json").write_text(json.dumps(result) + "\n")


def format_results(results: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| row | accuracy | 95% interval | macro-F1 | train s | run s | CPU s | train examples/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, result in results.items():
        low, high = result["accuracy_low"], result["accuracy_high"]
        lines.append(
            f"| {row} | {result['accuracy']:.4f} | {low:.4f} to {high:.4f} "
            f"| {result['macro_f1']:.4f} | {result['step_seconds']['train']:.0f} "
            f"| {result['wall_seconds']:.0f} | {_format_seconds(result['cpu_seconds'])} "
            f"| {result['train_examples_per_second']:.1f} |"
        )
    return "\n".join(lines)


def _format_seconds(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.0f}"


def format_page(results: dict[str, dict[str, Any]], workdir: Path) -> str:
    """The dated page: machine, commands, table."""
    commands = "\n".join(
        f"    {row}: kubert {' '.join(build_command(row, Path('W')))}" for row in results
    )
    rows = next(iter(results.values()))["test_rows"]
    return (
        f"# AG News, {datetime.date.today()}\n\n"
        "Made by `python benchmarks/suites/accuracy_ag_news.py --data DATA --workdir W` on "
        f"{os.cpu_count()} cores ({platform.machine()}), all {rows} test rows.\n"
        "Each row is one command, run in the directory of train.csv and test.csv:\n\n"
        f"{commands}\n\n{format_results(results)}\n"
    )


def main() -> None:
    """Run the rows without a result, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=list(ROWS))
    arguments = parser.parse_args()
    workdir = arguments.workdir.absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    for row in arguments.only or ROWS:
        if not (workdir / f"{row}.json").exists():
            run_row(row, arguments.data.absolute(), workdir)
    results = {
        row: json.loads(path.read_text())
        for row in ROWS
        if (path := workdir / f"{row}.json").exists()
    }
    target = (
        ROOT
        / "benchmarks/results"
        / f"{datetime.date.today()}_accuracy-ag-news_{os.cpu_count()}-cores.md"
    )
    target.write_text(format_page(results, workdir))
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
