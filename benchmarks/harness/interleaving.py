"""Interleaved measurements, compared turn by turn, so that other load affects all alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Measurement:
    """One round of a contender: examples, CPU and wall seconds, and figures of its own."""

    examples: int
    cpu_seconds: float
    wall_seconds: float
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def examples_per_cpu_second(self) -> float:
        """Examples per CPU second."""
        return self.examples / self.cpu_seconds


class Measurable(Protocol):
    """Does one round per call, and nothing in between."""

    def measure(self) -> Measurement: ...


def interleave(contenders: Mapping[str, Measurable], turns: int) -> dict[str, list[Measurement]]:
    """The measurements of every contender; a turn is one round of each, in the given order."""
    done: dict[str, list[Measurement]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            done[name].append(contender.measure())
    return done


def median_ratio(kubert: Sequence[Measurement], baseline: Sequence[Measurement]) -> float:
    """The median over the turns of kubert's examples per CPU second divided by the baseline's."""
    return statistics.median(_turn_ratios(kubert, baseline))


def ratio_range(
    kubert: Sequence[Measurement], baseline: Sequence[Measurement]
) -> tuple[float, float]:
    """The lowest and the highest ratio of a turn."""
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
