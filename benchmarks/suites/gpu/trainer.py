"""kubert against Hugging Face's Trainer on the same GPU, in turns."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.contender import Contender, start_contenders
from benchmarks.harness.interleaving import Measurement, interleave, median
from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.suites.gpu.page import Check, Section
from benchmarks.suites.gpu.processes import ROOT, Devices
from benchmarks.suites.gpu.settings import GpuSettings, TrainingSetup
from benchmarks.suites.gpu.throughput import (
    build_contender,
    find_setup_peak,
    format_mfu,
    list_plain_setups,
)
from benchmarks.suites.gpu.utilisation import compute_mfu, count_row_flops

TITLE = "Hugging Face's Trainer"
PACKAGES = ("torch", "transformers", "accelerate")
REMEDY = (
    "install torch, transformers and accelerate (locks/bench.txt has the versions; torch with "
    "CUDA) into a directory, and name it in PYTHONPATH"
)


def find_missing_packages(packages: Sequence[str] = PACKAGES) -> list[str]:
    """The packages of Hugging Face's Trainer that cannot be imported here."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def run_section(settings: GpuSettings, devices: Devices, gpu_name: str, workdir: Path) -> Section:
    """Both train the same weights on the same rows; a round of each per turn."""
    columns = (
        "model",
        "precision",
        "kubert, examples/s",
        "Trainer, examples/s",
        "kubert is faster (times)",
        "MFU of the Trainer",
    )
    caption = f"One device ({gpu_name}), {settings.batch_size} rows of {settings.length} tokens"
    if missing := find_missing_packages():
        unmeasured = ("-", "-", "-", f"needs {', '.join(missing)}: {REMEDY}", "-", "-")
        return Section(
            BenchmarkReport(TITLE, {}, (Table(caption, columns, (unmeasured,)),)),
            (Check(f"{TITLE} runs", None, f"needs {', '.join(missing)}"),),
        )
    rows: list[tuple[str, ...]] = []
    figures: dict[str, float] = {}
    for setup in list_plain_setups(settings.setups):
        ratio, row = _compare(setup, settings, devices, gpu_name, workdir / "trainer")
        figures[f"{setup}_vs_hf_trainer"] = ratio
        rows.append(row)
    return Section(
        BenchmarkReport(
            TITLE,
            figures,
            (Table(caption, columns, tuple(rows)),),
            (
                "By the clock: median of the turns' ratios (lowest to highest). The Trainer gets "
                "its precision by its options bf16, fp16 and tf32, and groups rows by length; "
                "nothing is compiled (torch.compile).",
            ),
        )
    )


def compute_wall_ratios(
    kubert: Sequence[Measurement], baseline: Sequence[Measurement]
) -> list[float]:
    """kubert's examples per second divided by the baseline's, in each turn."""
    return [
        (our.examples / our.wall_seconds) / (their.examples / their.wall_seconds)
        for our, their in zip(kubert, baseline, strict=True)
    ]


def _compare(
    setup: TrainingSetup, settings: GpuSettings, devices: Devices, gpu_name: str, workdir: Path
) -> tuple[float, tuple[str, ...]]:
    kubert, inputs = build_contender(setup, 1, settings, devices, workdir)
    search_path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    baseline = Contender(
        "benchmarks.baselines.training_hf_trainer",
        [
            inputs.home / "rows",
            inputs.weights,
            f"--batch-size={settings.batch_size}",
            f"--length={settings.length}",
            f"--precision={setup.precision}",
            f"--device={settings.device}",
        ],
        workdir / f"{setup.model}-trainer.log",
        environment={**devices.build_variables(), "PYTHONPATH": os.pathsep.join(search_path)},
    )
    with start_contenders(kubert=kubert, trainer=baseline) as contenders:
        done = interleave(contenders, settings.rounds)
    ratios = compute_wall_ratios(done["kubert"], done["trainer"])
    ours, theirs = (
        median(each.examples / each.wall_seconds for each in done[name])
        for name in ("kubert", "trainer")
    )
    row_flops = count_row_flops(inputs.sizes, settings.length, is_first_token_only=False)
    mfu = compute_mfu(theirs, row_flops, find_setup_peak(setup, gpu_name, settings))
    ratio = median(ratios)
    return ratio, (
        setup.model,
        setup.precision,
        f"{ours:.1f}",
        f"{theirs:.1f}",
        f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        format_mfu(mfu),
    )
