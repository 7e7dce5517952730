"""Sides take turns, one at a time, and are compared turn by turn: what else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Round:
    """What a side did in one turn: examples, CPU seconds of its process, seconds of the clock, and figures of its own."""

    examples: int
    cpu: float
    wall: float
    more: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Examples per CPU second."""
        return self.examples / self.cpu


class Player(Protocol):
    """Does a round when asked to, and nothing before."""

    def round(self) -> Round: ...


def take_turns(sides: Mapping[str, Player], turns: int) -> dict[str, list[Round]]:
    """The rounds of every side; a turn is one round of each, in the order given."""
    done: dict[str, list[Round]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            done[name].append(side.round())
    return done


def ratio(ours: Sequence[Round], theirs: Sequence[Round]) -> float:
    """How many times theirs ours is: the median over turns of the ratio of examples per CPU second."""
    return statistics.median(_ratios(ours, theirs))


def extremes(ours: Sequence[Round], theirs: Sequence[Round]) -> tuple[float, float]:
    """The least and the greatest ratio of a turn."""
    ratios = _ratios(ours, theirs)
    return min(ratios), max(ratios)


def median(values: Iterable[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def _ratios(ours: Sequence[Round], theirs: Sequence[Round]) -> list[float]:
    return [our.rate / their.rate for our, their in zip(ours, theirs, strict=True)]
