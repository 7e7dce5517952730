"""Turns are taken in order, and a ratio is the median of the turns' own."""

from __future__ import annotations

import pytest

from benchmarks.harness import interleaving
from benchmarks.harness.interleaving import Measurement


class Recorder:
    def __init__(self, name: str, log: list[str], *cpu: float) -> None:
        self._name, self._log, self._cpu = name, log, list(cpu)

    def measure(self) -> Measurement:
        self._log.append(self._name)
        return Measurement(examples=100, cpu_seconds=self._cpu.pop(0), wall_seconds=1.0)


def test_contenders_take_turns():
    log: list[str] = []
    contenders = {
        "kubert": Recorder("kubert", log, 1, 2),
        "baseline": Recorder("baseline", log, 3, 4),
    }
    done = interleaving.interleave(contenders, 2)
    assert log == ["kubert", "baseline", "kubert", "baseline"]
    assert [round.cpu_seconds for round in done["baseline"]] == [3, 4]


def test_the_ratio_is_the_median_of_the_turns_and_not_of_the_contenders():
    # A slower second turn, and a third that failed for one contender, change nothing.
    kubert = [Measurement(100, cpu, cpu) for cpu in (1.0, 5.0, 9.0)]
    baseline = [Measurement(100, cpu, cpu) for cpu in (2.0, 10.0, 9.0)]
    assert interleaving.median_ratio(kubert, baseline) == pytest.approx(2.0)
    assert interleaving.ratio_range(kubert, baseline) == pytest.approx((1.0, 2.0))


def test_examples_count_and_not_rounds():
    assert interleaving.median_ratio(
        [Measurement(200, 1.0, 1.0)], [Measurement(100, 1.0, 1.0)]
    ) == pytest.approx(2.0)


def test_contenders_that_did_not_do_the_same_turns_are_not_compared():
    with pytest.raises(ValueError, match="shorter"):
        interleaving.median_ratio([Measurement(1, 1.0, 1.0)] * 2, [Measurement(1, 1.0, 1.0)])
