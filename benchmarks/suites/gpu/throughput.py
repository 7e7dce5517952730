"""Examples per second and model FLOPs utilisation of real workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.contender import Contender, start_contenders
from benchmarks.harness.interleaving import Measurement, median
from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.suites.gpu.inputs import MANY, ModelInputs, prepare_inputs
from benchmarks.suites.gpu.page import Check, Section
from benchmarks.suites.gpu.processes import Devices
from benchmarks.suites.gpu.settings import GpuSettings, TrainingSetup
from benchmarks.suites.gpu.utilisation import compute_mfu, count_row_flops, find_peak_tflops

TITLE = "Throughput"
EPOCHS = 10_000
TERA = 1e12


@dataclass(frozen=True)
class Throughput:
    """The rounds of one training on `gpus` devices; `error` if it did not run."""

    setup: TrainingSetup
    gpus: int
    row_flops: float
    rounds: tuple[Measurement, ...] = ()
    error: str = ""

    @property
    def rows_per_second(self) -> float:
        """By the clock, the median of the rounds."""
        return median(each.examples / each.wall_seconds for each in self.rounds)


def run_section(settings: GpuSettings, devices: Devices, gpu_name: str, workdir: Path) -> Section:
    """Time every setup on one device, and the fastest plain one of each model on all GPUs."""
    wanted = [(setup, 1) for setup in settings.setups]
    if len(devices.gpus) > 1:
        plain = list_plain_setups(settings.setups)
        wanted += [(setup, devices.count) for setup in plain]
    measured = [
        measure_setup(setup, gpus, settings, devices, workdir / "throughput")
        for setup, gpus in wanted
    ]
    checks = [Check(f"{each.setup} trains", False, each.error) for each in measured if each.error]
    ran = [each for each in measured if not each.error]
    figures = {
        f"{each.setup}_x{each.gpus}_examples_per_second": each.rows_per_second for each in ran
    }
    rows = [format_row(each, gpu_name, settings) for each in measured]
    columns = (
        "model",
        "precision",
        "XLA",
        "devices",
        "examples/s",
        "lowest to highest",
        "ms per step",
        "model TFLOP/s",
        "MFU",
    )
    return Section(
        BenchmarkReport(
            TITLE,
            figures,
            (
                Table(
                    f"Training on {gpu_name}, {settings.batch_size} rows of {settings.length} "
                    f"tokens per device and step, {settings.rounds} rounds of "
                    f"{settings.round_steps} steps",
                    columns,
                    tuple(rows),
                ),
                _format_host_work(ran),
            ),
            (
                "Real workers, each in a process of its own with the device to itself; reading, "
                "copying and the optimizer are part of a round, validation and checkpoints are "
                "not. No row has padding.",
                "MFU: FLOPs of forward and backward pass (6 N + 12 L H Q T per token; PaLM, "
                "appendix B; N without embeddings) per second, as a share of the peak of dense "
                "products in this precision. Where kubert computes the last layer for the first "
                "token only (BERT with a pooled output), only that is counted.",
                *_explain_missing_peak(gpu_name, settings),
            ),
        ),
        tuple(checks),
    )


def list_plain_setups(setups: Sequence[TrainingSetup]) -> list[TrainingSetup]:
    """The last setup of each model without XLA: that of the narrowest products."""
    return list({setup.model: setup for setup in setups if not setup.xla}.values())


def build_contender(
    setup: TrainingSetup,
    gpus: int,
    settings: GpuSettings,
    devices: Devices,
    workdir: Path,
) -> tuple[Contender, ModelInputs]:
    """A real worker that trains this setup, and what it trains on."""
    rows = settings.batch_size * gpus * settings.round_steps
    inputs = prepare_inputs(setup.model, workdir, rows, settings.length)
    name = f"{str(setup).replace(':', '-')}-x{gpus}"
    job = inputs.write_job(
        workdir / name,
        epochs=EPOCHS,
        batch_size=settings.batch_size * gpus,
        precision=setup.precision,
        xla=setup.xla,
        # XLA may compile for minutes, and a contender waits while another one has its turn.
        rendezvous_timeout=MANY,
        stall_timeout=MANY,
    )
    contender = Contender(
        "benchmarks.baselines.training_kubert",
        [job],
        workdir / f"{name}.log",
        environment=devices.build_variables(0, gpus),
    )
    return contender, inputs


def measure_setup(
    setup: TrainingSetup, gpus: int, settings: GpuSettings, devices: Devices, workdir: Path
) -> Throughput:
    """Its rounds; one that fails, for example for lack of memory, must not end the suite."""
    contender, inputs = build_contender(setup, gpus, settings, devices, workdir)
    row_flops = count_row_flops(
        inputs.sizes, settings.length, is_first_token_only=inputs.is_first_token_only
    )
    try:
        with start_contenders(kubert=contender):
            rounds = tuple(contender.measure() for _ in range(settings.rounds))
    except RuntimeError as error:
        return Throughput(setup, gpus, row_flops, error=" ".join(str(error).split()))
    return Throughput(setup, gpus, row_flops, rounds)


def find_setup_peak(setup: TrainingSetup, gpu_name: str, settings: GpuSettings) -> float | None:
    """Peak of one device in TFLOP/s: the option's, or the table's."""
    return settings.peak_tflops or find_peak_tflops(gpu_name, setup.precision)


def format_mfu(share: float) -> str:
    """In percent; a dash if the peak is not known."""
    return "-" if math.isnan(share) else f"{share:.1%}"


def format_row(measured: Throughput, gpu_name: str, settings: GpuSettings) -> tuple[str, ...]:
    """The table's row."""
    setup = measured.setup
    head = (setup.model, setup.precision, "on" if setup.xla else "off", str(measured.gpus))
    if measured.error:
        return (*head, "failed", "", "", "", "-")
    rates = [each.examples / each.wall_seconds for each in measured.rounds]
    rate = measured.rows_per_second
    peak = find_setup_peak(setup, gpu_name, settings)
    mfu = compute_mfu(rate, measured.row_flops, peak and peak * measured.gpus)
    return (
        *head,
        f"{rate:.1f}",
        f"{min(rates):.1f} to {max(rates):.1f}",
        f"{settings.batch_size * measured.gpus / rate * 1000:.1f}",
        f"{rate * measured.row_flops / TERA:.3g}",
        format_mfu(mfu),
    )


def _explain_missing_peak(gpu_name: str, settings: GpuSettings) -> list[str]:
    if settings.peak_tflops:
        return [f"Peak by --peak-tflops: {settings.peak_tflops:g} TFLOP/s."]
    if find_peak_tflops(gpu_name, "float32") is None:
        return [f"{gpu_name} is not in the table of peaks: --peak-tflops gives its MFU."]
    return []


def _format_host_work(measured: Sequence[Throughput]) -> Table:
    rows = []
    for each in measured:
        steps, outcomes, late, waits = (
            sum(round.extra[key] for round in each.rounds)
            for key in ("steps", "outcomes", "late_outcomes", "other_waits")
        )
        seconds = sum(round.wall_seconds for round in each.rounds)
        rows.append(
            (
                str(each.setup),
                str(each.gpus),
                f"{steps:.0f}",
                f"{outcomes / steps:.2f}",
                f"{late / steps:.2f}",
                f"{waits / seconds:.2%}",
            )
        )
    columns = (
        "training",
        "devices",
        "steps",
        "waits per step",
        "of these with a step running",
        "waiting for batches",
    )
    return Table("How often the host waits for a step's outcome", columns, tuple(rows))
