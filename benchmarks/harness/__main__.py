"""`make bench`: every chapter in a process of its own; writes the dated page and latest.json.

    python -m benchmarks.harness --data DIR --workdir DIR [--only CHAPTER]...

A chapter that fails is named at the end, and the exit code is 1; what the others measured is written all the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.report import Chapter, Table, markdown

RESULTS = Path(__file__).parents[1] / "results"
LATEST = RESULTS / "latest.json"
CHAPTERS: dict[str, tuple[str, ...]] = {
    "tokenizing": ("tokenize_vs_hf", "tokenize_vs_notebook"),
    "training": (
        "train_l4_vs_notebook",
        "train_minilm_vs_notebook",
        "train_vs_hf_trainer",
        "train_vs_model_garden",
        "padding_efficiency",
        "input_wait_share",
    ),
    "training_agreement": (),
    "frozen": ("frozen_later_epochs",),
    "scaling": ("scaling_two_workers",),
    "serving": ("serve_p50_vs_plain", "serve_batch64_vs_plain"),
    "overhead": ("pipeline_overhead_s", "cached_rerun_s"),
    "growth": (),
}
"""The chapters in the page's order, each with the keys that it adds to latest.json."""
_SHOWN = (
    "tensorflow-cpu",
    "tf-models-official",
    "tf-keras",
    "torch",
    "transformers",
    "tokenizers",
    "kfp",
)


def merged(before: Mapping[str, float], chapters: Mapping[str, Chapter]) -> dict[str, float]:
    """latest.json after these chapters: their figures over the ones before, in order, and no key that no chapter has.

    Raises ValueError for a chapter whose figures are not the ones that it should measure.
    """
    for name, chapter in chapters.items():
        if set(chapter.figures) != set(CHAPTERS[name]):
            raise ValueError(
                f"chapter {name} measured {sorted(chapter.figures)}, and should have measured {sorted(CHAPTERS[name])}"
            )
    found = dict(before) | {
        key: value for chapter in chapters.values() for key, value in chapter.figures.items()
    }
    return {key: found[key] for keys in CHAPTERS.values() for key in keys if key in found}


def page(
    command: str,
    machine: Mapping[str, str],
    chapters: Sequence[Chapter],
    missing: Sequence[str],
    today: datetime.date,
) -> str:
    """The dated page."""
    about = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    lacking = f"\nNot measured: {', '.join(missing)}.\n" if missing else ""
    return f"# Speed, {today}\n\n    {command}\n\n{about}\n{lacking}\n" + "\n".join(
        markdown(chapter) for chapter in chapters
    )


def machine() -> dict[str, str]:
    """What the figures were measured on and with."""
    installed = {
        distribution.name.replace("_", "-"): distribution.version
        for distribution in importlib.metadata.distributions()
    }
    return {
        "machine": f"{len(os.sched_getaffinity(0))} cores, {_processor()}, {_memory()} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {installed[name]}" for name in _SHOWN if name in installed),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _write_result(name: str, data: Path, workdir: Path, result: Path) -> None:
    """In the chapter's own process: measure, and keep the result."""
    chapter: Chapter = importlib.import_module(f"benchmarks.suites.{name}").chapter(data, workdir)
    result.write_text(json.dumps(dataclasses.asdict(chapter)), encoding="utf-8")


def read_result(value: Mapping[str, Any]) -> Chapter:
    """The chapter that was kept as JSON."""
    tables = (
        Table(
            caption=table["caption"],
            columns=tuple(table["columns"]),
            rows=tuple(map(tuple, table["rows"])),
        )
        for table in value["tables"]
    )
    return Chapter(
        title=value["title"],
        figures=dict(value["figures"]),
        tables=tuple(tables),
        notes=tuple(value["notes"]),
    )


def _measure(name: str, data: Path, workdir: Path) -> Chapter | None:
    """Run the chapter and say how it went; None if it failed."""
    result, log = workdir / f"{name}.json", workdir / f"{name}.log"
    result.unlink(missing_ok=True)
    started = time.monotonic()
    print(f"{name}: ", end="", flush=True)
    command = [
        sys.executable,
        "-m",
        "benchmarks.harness",
        "--data",
        str(data),
        "--workdir",
        str(workdir / name),
        "--write",
        str(result),
        "--only",
        name,
    ]
    with log.open("wb") as stream:
        code = subprocess.run(
            command, cwd=RESULTS.parents[1], stdout=stream, stderr=subprocess.STDOUT, check=False
        ).returncode
    took = time.monotonic() - started
    if code:
        print(f"FAILED with exit code {code} after {took:.0f} s; see {log}", flush=True)
        return None
    chapter = read_result(json.loads(result.read_text(encoding="utf-8")))
    if set(chapter.figures) != set(CHAPTERS[name]):
        print(
            f"FAILED: measured {sorted(chapter.figures)}, and should have measured {sorted(CHAPTERS[name])}",
            flush=True,
        )
        return None
    print(
        ", ".join(f"{key} {value:.4g}" for key, value in chapter.figures.items()) or "done",
        f"({took:.0f} s)",
        flush=True,
    )
    return chapter


def main() -> int:
    """Run the chapters, write what they measured, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--data", type=Path, required=True, help="directory with AG News' train.csv and test.csv"
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        required=True,
        help="directory for what the chapters work on, and their logs",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(CHAPTERS),
        help="this chapter alone; may be given several times",
    )
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    data, workdir = arguments.data.resolve(), arguments.workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    if arguments.write:
        _write_result(arguments.only[0], data, workdir, arguments.write)
        return 0
    done: dict[str, Chapter] = {}
    missing: list[str] = []
    for name in arguments.only or CHAPTERS:
        if importlib.util.find_spec(f"benchmarks.suites.{name}") is None:
            print(f"{name}: there is no such chapter yet", flush=True)
            missing.append(name)
        elif chapter := _measure(name, data, workdir):
            done[name] = chapter
        else:
            missing.append(name)
    _write(done, missing, arguments.only or [])
    return 1 if missing else 0


def _write(done: dict[str, Chapter], missing: list[str], only: list[str]) -> None:
    today = datetime.date.today()
    command = " ".join(
        [
            "python -m benchmarks.harness --data DATA --workdir WORKDIR",
            *(f"--only {name}" for name in only),
        ]
    )
    # A part must not replace the whole that was measured on the same day.
    target = RESULTS / f"{'-'.join([str(today), 'speed', *only])}.md"
    target.write_text(
        page(command, machine(), list(done.values()), missing, today), encoding="utf-8"
    )
    before = json.loads(LATEST.read_text(encoding="utf-8")) if LATEST.exists() else {}
    LATEST.write_text(json.dumps(merged(before, done), indent=2) + "\n", encoding="utf-8")
    print(f"wrote {target} and {LATEST.name}")


if __name__ == "__main__":
    sys.exit(main())
