"""How many folds are trained side by side, and what each of them has."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from components.config.loading import validate_config
from pipeline.local.fold_slots import FoldSlot, divide_cores, plan_slots

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "slots", "expected"),
    [
        pytest.param([0, 1, 2, 3], 2, [(0, 1), (2, 3)], id="equal"),
        pytest.param([0, 1, 2, 5, 7], 2, [(0, 1), (2, 5, 7)], id="unequal"),
        pytest.param([3, 4], 1, [()], id="one-has-all"),
        pytest.param([3, 4], 3, [(), (), ()], id="too-few"),
    ],
)
def test_cores_are_divided(cores: list[int], slots: int, expected: list[tuple[int, ...]]) -> None:
    assert [slot.cores for slot in divide_cores(cores, slots)] == expected


@pytest.mark.parametrize(
    ("memory", "options", "parallel", "expected"),
    [
        pytest.param(64, {"model": {"encoder": "scratch"}}, None, 5, id="folds"),
        pytest.param(64, {"model": {"encoder": "scratch"}}, 3, 3, id="asked-for"),
        pytest.param(7, {"model": {"encoder": "scratch"}}, None, 3, id="memory"),
        pytest.param(7, {"model": {"encoder": "hf:bert"}}, None, 1, id="large-model"),
        pytest.param(1, {"model": {"encoder": "hf:bert"}}, None, 1, id="at-least-one"),
        pytest.param(1, {"model": {"encoder": "hf:bert"}}, 2, 2, id="asked-for-all-the-same"),
        pytest.param(64, {"train": {"workers": 4}}, None, 2, id="workers"),
        pytest.param(1, {"cluster": {"backend": "jobset"}}, None, 5, id="pods"),
    ],
)
def test_as_many_folds_as_cores_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch,
    memory: int,
    options: dict[str, Any],
    parallel: int | None,
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    available = SimpleNamespace(available=memory * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    assert len(plan_slots(validate_config(options), 5, parallel)) == expected


def test_slots_of_pods_share_nothing_of_this_machine() -> None:
    config = validate_config({"cluster": {"backend": "jobset"}})
    assert plan_slots(config, 3, 2) == [FoldSlot(), FoldSlot()]
