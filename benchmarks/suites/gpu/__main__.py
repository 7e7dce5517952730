"""Shows that training on this machine's GPUs is right, and how fast it is; writes a page.

    python -m benchmarks.suites.gpu [--device cpu] [--quick] [--output DIR or FILE.md]

Checks the driver and TensorFlow's kernels, the losses of several replicas against one, and the
all-reduce; measures its bandwidth, examples per second and model FLOPs utilisation, alone and
against Hugging Face's Trainer; counts the operations of a step. Exit code 0: all checks passed;
1: one failed; 2: an option or the output cannot be used; 72: there is no GPU to use.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks.harness.__main__ import RESULTS, describe_machine, name_page
from benchmarks.suites.gpu import bandwidth, machine, replicas, step_graph, throughput, trainer
from benchmarks.suites.gpu.page import Section, format_json, format_page, has_failed, report_failure
from benchmarks.suites.gpu.processes import Devices
from benchmarks.suites.gpu.settings import (
    GpuSettings,
    TrainingSetup,
    choose_settings,
    parse_setup,
)
from components.errors import ExitCode, HardwareError
from components.gpu.assignment import CUDA_VISIBLE_DEVICES, list_visible
from components.storage.local import check_writable

STAND_IN_OUTPUT = Path(".kubert", "bench")
STAND_IN_NAME = "logical CPU devices"
MODULE = "benchmarks.suites.gpu"
SECTIONS = ("machine", "replicas", "all-reduce", "throughput", "trainer", "graph")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device",
        choices=("gpu", "cpu"),
        default="gpu",
        help="cpu: two logical CPU devices stand in for GPUs, to try the command",
    )
    parser.add_argument("--quick", action="store_true", help="a tiny model and few steps")
    parser.add_argument(
        "--output",
        type=_parse_path,
        help="directory, or file ending in .md; the JSON is written beside it "
        f"(default: benchmarks/results; with --device cpu: {STAND_IN_OUTPUT})",
    )
    parser.add_argument(
        "--config",
        type=_parse_setup_option,
        action="append",
        metavar="MODEL:PRECISION[:xla]",
        help="time this training only, such as bert-base:bfloat16:xla; repeatable",
    )
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="this part only; repeatable"
    )
    parser.add_argument(
        "--batch-size", type=_parse_positive, help="rows per device and step (default: 32)"
    )
    parser.add_argument(
        "--length", type=_parse_length, help="tokens of every row, 8 to 512 (default: 128)"
    )
    parser.add_argument(
        "--peak-tflops",
        type=_parse_peak,
        help="peak of one GPU in TFLOP/s, dense, in place of the table's figure; "
        "give it with --config of one precision",
    )
    parser.add_argument(
        "--workdir",
        type=_parse_path,
        help="keep inputs and logs here (default: a temporary directory)",
    )
    return parser


def run_suite(
    settings: GpuSettings, devices: Devices, found: machine.Machine, only: Sequence[str], work: Path
) -> Iterator[Section]:
    """Run the sections that are wanted; one that ends with an error is a failed check."""
    is_stand_in = settings.device == "cpu"
    gpu_name = STAND_IN_NAME if is_stand_in else found.driver.devices[0].name
    parts: dict[str, tuple[str, Callable[[], Section]]] = {
        "machine": ("Machine", lambda: machine.describe_machine(found, is_stand_in=is_stand_in)),
        "replicas": (replicas.TITLE, lambda: replicas.run_section(settings, devices, work)),
        "all-reduce": (bandwidth.TITLE, lambda: bandwidth.run_section(settings, devices, work)),
        "throughput": (
            throughput.TITLE,
            lambda: throughput.run_section(settings, devices, gpu_name, work),
        ),
        "trainer": (
            trainer.TITLE,
            lambda: trainer.run_section(settings, devices, gpu_name, work),
        ),
        "graph": (step_graph.TITLE, lambda: step_graph.run_section(settings, devices, work)),
    }
    for name in SECTIONS:
        if name not in only:
            continue
        title, run = parts[name]
        print(f"{name}: ", end="", flush=True)
        try:
            section = run()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            section = report_failure(title, error)
        print("FAILED" if has_failed([section]) else "finished", flush=True)
        yield section


def choose_output(output: Path | None, device: str, gpu_name: str, today: datetime.date) -> Path:
    """The page's path; its directory is created. OSError if page or JSON cannot be written."""
    chosen = output or (STAND_IN_OUTPUT if device == "cpu" else RESULTS)
    if chosen.suffix != ".md":
        chosen = chosen / name_page(["gpu"], gpu_name, today)
    create_writable_directory(chosen.parent)
    for file in (chosen, chosen.with_suffix(".json")):
        if file.exists():
            file.open("a").close()
    return chosen


def create_writable_directory(directory: Path) -> None:
    """OSError if the directory cannot be made, or if no file can be made in it."""
    directory.mkdir(parents=True, exist_ok=True)
    check_writable(directory)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite, write page and JSON, and return the exit code."""
    # As Ctrl-C: the processes of the suite are ended, and its temporary files removed.
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run_command(arguments)
    except KeyboardInterrupt as interrupt:
        return _report_interrupt(interrupt)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(ExitCode.TERMINATED)


def _report_interrupt(interrupt: KeyboardInterrupt, kept: str = "") -> int:
    print(f"\ngpu: interrupted{kept}", file=sys.stderr)
    return interrupt.args[0] if interrupt.args else ExitCode.INTERRUPTED


def _run_command(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    found = machine.read_machine()
    is_stand_in = options.device == "cpu"
    try:
        usable = () if is_stand_in else found.find_usable_gpus()
    except HardwareError as error:
        print(f"gpu: {error}; --device cpu tries the command without a GPU", file=sys.stderr)
        return int(error.exit_code)
    devices = Devices(tuple(list_visible(len(usable), os.environ.get(CUDA_VISIBLE_DEVICES))))
    settings = _choose_settings(options, usable[0].compute_capability if usable else None)
    gpu_name = usable[0].name if usable else STAND_IN_NAME
    today = datetime.date.today()
    try:
        option = "--output"
        page = choose_output(options.output, options.device, gpu_name, today)
        if options.workdir:
            option = "--workdir"
            create_writable_directory(options.workdir)
    except OSError as error:
        print(
            f"gpu: cannot write {error.filename}: {error.strerror}; use {option} DIR",
            file=sys.stderr,
        )
        return ExitCode.USER_ERROR
    words = sys.argv[1:] if arguments is None else arguments
    command = f"python -m {MODULE} {shlex.join(words)}".rstrip()
    sections: list[Section] = []
    json_file = page.with_suffix(".json")
    with tempfile.TemporaryDirectory(prefix="gpu-suite-") as temporary:
        work = (options.workdir or Path(temporary)).resolve()
        try:
            for section in run_suite(settings, devices, found, options.only or SECTIONS, work):
                # After every part: what was measured stays if the next one is interrupted.
                sections.append(section)
                content = (command, describe_machine(), sections, today)
                page.write_text(format_page(*content, is_stand_in=is_stand_in), encoding="utf-8")
                text = format_json(*content, is_stand_in=is_stand_in)
                json_file.write_text(text, encoding="utf-8")
        except KeyboardInterrupt as interrupt:
            kept = f"; {page} has the parts that were finished" if sections else ""
            return _report_interrupt(interrupt, kept)
    print(f"wrote {page} and {json_file.name}")
    return ExitCode.FAILURE if has_failed(sections) else ExitCode.SUCCESS


def _choose_settings(
    options: argparse.Namespace, capability: tuple[int, int] | None
) -> GpuSettings:
    chosen = {
        "setups": tuple(options.config) if options.config else None,
        "batch_size": options.batch_size,
        "length": options.length,
        "peak_tflops": options.peak_tflops,
    }
    return dataclasses.replace(
        choose_settings(options.device, quick=options.quick, capability=capability),
        **{name: value for name, value in chosen.items() if value is not None},
    )


def _parse_setup_option(text: str) -> TrainingSetup:
    try:
        return parse_setup(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parse_path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name a directory")
    return Path(text)


def _parse_positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _parse_length(text: str) -> int:
    if not text.isdecimal() or not 8 <= int(text) <= 512:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 8 to 512")
    return int(text)


def _parse_peak(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of TFLOP/s above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
