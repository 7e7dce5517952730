from __future__ import annotations

import pytest

from benchmarks.suites.gpu.bandwidth import compute_algorithm_bandwidth, compute_bus_bandwidth


@pytest.mark.parametrize(
    ("devices", "factor"),
    [pytest.param(2, 1.0, id="two"), pytest.param(8, 1.75, id="eight")],
)
def test_bus_bandwidth_is_that_of_nccl_tests(devices: int, factor: float) -> None:
    algorithm = compute_algorithm_bandwidth(10**9, 0.01)
    assert algorithm == pytest.approx(1e11)
    assert compute_bus_bandwidth(algorithm, devices) == pytest.approx(factor * 1e11)
