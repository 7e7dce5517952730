"""Bandwidth of the all-reduce of gradients, with the formulas of NVIDIA's nccl-tests."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.suites.gpu.page import Check, Section
from benchmarks.suites.gpu.processes import Devices, Process, run_processes
from benchmarks.suites.gpu.settings import GpuSettings

TITLE = "All-reduce"
CHECK = "All-reduce adds up"


def compute_algorithm_bandwidth(size: int, seconds: float) -> float:
    """algbw: bytes of one device's tensor per second."""
    return size / seconds


def compute_bus_bandwidth(algorithm_bandwidth: float, devices: int) -> float:
    """busbw = algbw * 2 (n - 1) / n: what a link carries, comparable with its speed.

    Source: doc/PERFORMANCE.md of https://github.com/NVIDIA/nccl-tests, "AllReduce".
    """
    return algorithm_bandwidth * 2 * (devices - 1) / devices


def run_section(settings: GpuSettings, devices: Devices, workdir: Path) -> Section:
    """Time the step's all-reduce on all devices of one worker, for several sizes."""
    if devices.count < 2:
        return Section(
            BenchmarkReport(TITLE, {}, (), ("One GPU has nothing to reduce.",)),
            (Check(CHECK, None, "needs two GPUs"),),
        )
    logical = [f"--logical-devices={count}" for count in devices.logical_devices]
    (output,) = run_processes(
        Process(
            "benchmarks.baselines.all_reduce",
            [*logical, *settings.reduction_bytes],
            devices.build_variables(0, devices.count),
            workdir / "all-reduce.log",
        )
    )
    measured = json.loads(output.splitlines()[-1])
    count, rows, figures = measured["devices"], [], {}
    for size in measured["sizes"]:
        algorithm = compute_algorithm_bandwidth(size["bytes"], size["seconds"])
        bus = compute_bus_bandwidth(algorithm, count)
        figures[f"bus_bandwidth_{size['bytes']}"] = bus
        rows.append(
            (
                f"{size['bytes'] / 2**20:g}",
                f"{size['seconds'] * 1e6:.0f}",
                f"{algorithm / 1e9:.2f}",
                f"{bus / 1e9:.2f}",
            )
        )
    is_sum = all(size["is_sum"] for size in measured["sizes"])
    return Section(
        BenchmarkReport(
            TITLE,
            figures,
            (
                Table(
                    f"All-reduce over {count} devices of one worker, float32",
                    ("MiB", "µs", "algorithm bandwidth, GB/s", "bus bandwidth, GB/s"),
                    tuple(rows),
                ),
            ),
            (
                "The training step's own all-reduce: NCCL on GPUs, TensorFlow's ring on CPUs. "
                "Median of calls with several reductions in a row. Algorithm bandwidth is bytes "
                "per second; bus bandwidth is that times 2 (n - 1) / n, as in nccl-tests.",
                "Between nodes: run nccl-tests there; this is one machine.",
            ),
        ),
        (
            Check(
                CHECK,
                is_sum and count == devices.count,
                f"ones on {count} devices, {len(rows)} sizes",
            ),
        ),
    )
