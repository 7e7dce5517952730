"""Sides take turns, one at a time, and are compared turn by turn: what else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Measurement:
    """What a side did in one turn: examples, CPU seconds of its process, seconds of the clock, and figures of its own."""

    examples: int
    cpu_seconds: float
    wall_seconds: float
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def examples_per_cpu_second(self) -> float:
        """Examples per CPU second."""
        return self.examples / self.cpu_seconds


class Measurable(Protocol):
    """Does a round when asked to, and nothing before."""

    def measure(self) -> Measurement: ...


def interleave(contenders: Mapping[str, Measurable], turns: int) -> dict[str, list[Measurement]]:
    """The rounds of every side; a turn is one round of each, in the order given."""
    done: dict[str, list[Measurement]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            done[name].append(contender.measure())
    return done


def median_ratio(kubert: Sequence[Measurement], baseline: Sequence[Measurement]) -> float:
    """How many times theirs ours is: the median over turns of the ratio of examples per CPU second."""
    return statistics.median(_turn_ratios(kubert, baseline))


def ratio_range(
    kubert: Sequence[Measurement], baseline: Sequence[Measurement]
) -> tuple[float, float]:
    """The least and the greatest ratio of a turn."""
    ratios = _turn_ratios(kubert, baseline)
    return min(ratios), max(ratios)


def median(values: Iterable[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def _turn_ratios(kubert: Sequence[Measurement], baseline: Sequence[Measurement]) -> list[float]:
    return [
        our.examples_per_cpu_second / their.examples_per_cpu_second
        for our, their in zip(kubert, baseline, strict=True)
    ]
