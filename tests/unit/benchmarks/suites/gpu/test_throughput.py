"""The rows of the tables of speed."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.harness.interleaving import Measurement
from benchmarks.suites.gpu.settings import TrainingSetup, choose_settings
from benchmarks.suites.gpu.throughput import Throughput, format_row, list_plain_setups
from benchmarks.suites.gpu.trainer import compute_wall_ratios

SETTINGS = choose_settings("gpu", quick=False)
BFLOAT16 = TrainingSetup("bert-base", "bfloat16")
ROUNDS = tuple(Measurement(1600, cpu_seconds=1.0, wall_seconds=wall) for wall in (1.0, 1.6, 2.0))
TIMED = Throughput(BFLOAT16, 1, 3.12e10, ROUNDS)


@pytest.mark.parametrize(
    ("gpu", "peak", "gpus", "mfu"),
    [
        pytest.param("NVIDIA A100-SXM4-40GB", None, 1, "10.0%", id="by-the-table"),
        pytest.param("NVIDIA A100-SXM4-40GB", None, 4, "2.5%", id="peak-of-all-gpus"),
        pytest.param("NVIDIA A10G", None, 1, "-", id="unknown"),
        pytest.param("NVIDIA A10G", 62.4, 1, "50.0%", id="by-the-option"),
    ],
)
def test_a_row_has_the_median_rate_and_the_utilisation(
    gpu: str, peak: float | None, gpus: int, mfu: str
) -> None:
    measured = dataclasses.replace(TIMED, gpus=gpus)
    row = format_row(measured, gpu, dataclasses.replace(SETTINGS, peak_tflops=peak))
    assert row[:4] == ("bert-base", "bfloat16", "off", str(gpus))
    assert row[4:6] == ("1000.0", "800.0 to 1600.0")
    assert row[7:] == ("31.2", mfu)


def test_a_training_that_failed_has_a_row() -> None:
    failed = Throughput(BFLOAT16, 1, 1.0, error="out of memory")
    row = format_row(failed, "NVIDIA L4", SETTINGS)
    assert row[4] == "failed"
    assert len(row) == len(format_row(TIMED, "NVIDIA L4", SETTINGS))


def test_the_comparison_takes_each_models_narrowest_products_without_xla() -> None:
    setups = [
        TrainingSetup("minilm", "float32"),
        TrainingSetup("minilm", "bfloat16"),
        TrainingSetup("minilm", "bfloat16", xla=True),
        TrainingSetup("bert-base", "tf32"),
    ]
    assert list_plain_setups(setups) == [setups[1], setups[3]]


def test_ratios_are_by_the_clock_and_turn_by_turn() -> None:
    baseline = [dataclasses.replace(each, wall_seconds=4.0, cpu_seconds=9.0) for each in ROUNDS]
    assert compute_wall_ratios(ROUNDS, baseline) == pytest.approx([4.0, 2.5, 2.0])
