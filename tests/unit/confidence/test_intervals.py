from __future__ import annotations

import statistics

import numpy as np
import pytest

from components.confidence.intervals import paired_interval, wilson_interval


@pytest.mark.parametrize(
    ("right", "rows"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 10), (7_123, 7_600), (1, 1_000_000)]
)
def test_the_interval_is_that_of_wilsons_formula(right: int, rows: int) -> None:
    z = statistics.NormalDist().inv_cdf(0.975)
    share, weight = right / rows, z * z / rows
    center = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * (share * (1 - share) / rows + weight / (4 * rows)) ** 0.5
    low, high = wilson_interval(right, rows)
    assert (low, high) == pytest.approx((center - half, center + half), abs=1e-12)
    assert 0 <= low <= right / rows <= high <= 1


@pytest.mark.parametrize("rows", [1, 20, 1_000_000])
def test_the_interval_of_an_extreme_proportion_ends_at_it(rows: int) -> None:
    assert wilson_interval(0, rows)[0] == 0.0
    assert wilson_interval(rows, rows)[1] == 1.0


@pytest.mark.parametrize(
    ("gained", "lost", "rows", "expected"),
    [
        pytest.param(5, 15, 100, (-0.18614, -0.00994), id="worked-by-hand"),
        pytest.param(0, 0, 1, (-0.92394, 0.92394), id="one-row"),
        pytest.param(20, 0, 20, (0.73501, 1.0), id="ends-at-one"),
    ],
)
def test_the_interval_of_a_difference_is_that_of_bonett_and_price(
    gained: int, lost: int, rows: int, expected: tuple[float, float]
) -> None:
    assert paired_interval(gained, lost, rows) == pytest.approx(expected, abs=2e-5)
    mirrored = tuple(-end for end in reversed(expected))
    assert paired_interval(lost, gained, rows) == pytest.approx(mirrored, abs=2e-5)


@pytest.mark.parametrize("shares", [(0.05, 0.02), (0.06, 0.06), (0.2, 0.25)], ids=str)
def test_the_interval_of_a_difference_covers_the_true_one_as_often_as_it_says(
    shares: tuple[float, float],
) -> None:
    random, rows, trials = np.random.default_rng(1), 150, 4000
    draws = random.multinomial(rows, [*shares, 1 - sum(shares)], trials)
    intervals = [paired_interval(int(gained), int(lost), rows) for gained, lost, _ in draws]
    covered = np.mean([low <= shares[0] - shares[1] <= high for low, high in intervals])
    assert 0.94 < covered < 0.98
