"""The check of losses against one replica: rounding passes, everything else fails."""

from __future__ import annotations

import pytest

from benchmarks.suites.gpu import replicas
from benchmarks.suites.gpu.replicas import TrainedLosses, check_losses, list_groups

LOSSES = (1.39, 1.41, 1.36)
ONE_REPLICA = (1.3871276, 1.4129958, 1.3644390, 1.4983426, 1.4744827)
OWN_GRADIENTS = (1.3871276, 1.3915946, 1.3713481, 1.4978411, 1.5236889)
"""Of two replicas that do not add up their gradients (tests.support.training.broken_reduction)."""


def make(*losses: float, workers: int = 1, count: int = 2) -> TrainedLosses:
    return TrainedLosses(workers, count, losses, "")


@pytest.mark.parametrize(
    ("losses", "passed"),
    [
        pytest.param(LOSSES, True, id="equal"),
        pytest.param((1.39, 1.41, 1.3600009), True, id="rounding"),
        pytest.param((1.39, 1.41, 1.361), False, id="another-step"),
        pytest.param((1.39, 1.41), False, id="a-step-less"),
        pytest.param((1.39, float("nan"), 1.36), False, id="not-a-number"),
    ],
)
def test_only_rounding_passes(losses: tuple[float, ...], passed: bool) -> None:
    check = check_losses(make(*LOSSES, count=1), make(*losses))
    assert check.passed is passed
    assert "1 worker x 2" in check.name


def test_replicas_that_do_not_add_up_their_gradients_fail_the_check() -> None:
    check = check_losses(make(*ONE_REPLICA, count=1), make(*OWN_GRADIENTS))
    assert check.passed is False
    assert check.detail == "largest difference 4.9e-02, allowed 1e-04"


def test_losses_that_never_change_show_nothing() -> None:
    check = check_losses(make(1.39, 1.39), make(1.39, 1.39))
    assert check.passed is False
    assert "shows nothing" in check.detail


@pytest.mark.parametrize(
    ("devices", "has_worker_groups", "groups"),
    [
        pytest.param(1, True, [(1, 1)], id="one-gpu"),
        pytest.param(2, True, [(1, 1), (1, 2), (2, 1)], id="two"),
        pytest.param(2, False, [(1, 1), (1, 2)], id="one-worker-only"),
        pytest.param(8, True, [(1, 1), (1, 8), (2, 4)], id="eight"),
    ],
)
def test_groups_use_all_gpus(
    devices: int, has_worker_groups: bool, groups: list[tuple[int, int]]
) -> None:
    assert list_groups(devices, has_worker_groups=has_worker_groups) == groups


def test_the_tolerance_is_above_what_was_measured_and_far_below_a_broken_reduction() -> None:
    assert 7e-7 < replicas.TOLERANCE < 0.01
