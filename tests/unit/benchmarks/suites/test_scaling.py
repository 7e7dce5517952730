"""The arithmetic of two workers against one."""

from __future__ import annotations

import pytest

from benchmarks.harness.interleaving import Measurement
from benchmarks.suites import scaling


def worker(wall: float, cpu: float) -> Measurement:
    return Measurement(
        examples=100, cpu_seconds=1.0, wall_seconds=1.0, extra={"step_wall": wall, "step_cpu": cpu}
    )


def test_efficiency_is_one_where_two_workers_take_half_the_time_and_the_slower_counts():
    assert scaling.wall_efficiency(
        [worker(0.2, 0.2)], [worker(0.1, 0.1), worker(0.1, 0.1)]
    ) == pytest.approx(1.0)
    assert scaling.wall_efficiency(
        [worker(0.2, 0.2)], [worker(0.1, 0.1), worker(0.2, 0.1)]
    ) == pytest.approx(0.5)


def test_cpu_efficiency_counts_both_workers():
    assert scaling.cpu_efficiency(
        [worker(0.2, 0.2)], [worker(0.1, 0.1), worker(0.1, 0.15)]
    ) == pytest.approx(0.8)


def test_the_parts_of_a_step_add_up_to_it():
    two = [[worker(0.12, 0.10), worker(0.12, 0.09)]]
    apart = [[worker(0.08, 0.08), worker(0.07, 0.07)]]
    chief, other = scaling.step_shares(two, apart)
    assert (chief.compute, chief.reduce, chief.waiting) == pytest.approx((0.08, 0.02, 0.02))
    assert (other.compute, other.reduce, other.waiting) == pytest.approx((0.07, 0.02, 0.03))
    assert chief.compute + chief.reduce + chief.waiting == pytest.approx(chief.wall)
