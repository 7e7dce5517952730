"""How long the passes of an explanation take, from a few that are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from components.explain.attribution import count_batch_rows

_MEASURED_ROWS = 4


@dataclass(frozen=True)
class PassCost:
    """Seconds of a call of the model: those of any call, and those of each token of its rows."""

    per_call: float
    per_token: float

    def estimate_seconds(self, rows: int, tokens: int) -> float:
        """Seconds of `rows` rows of `tokens` tokens, in batches as they are computed."""
        calls = -(-rows // count_batch_rows(tokens))
        return calls * self.per_call + rows * tokens * self.per_token


def measure_cost(call: Callable[[int], object], tokens: int) -> PassCost:
    """The cost of a call with a number of rows of `tokens` tokens.

    A batch costs much less than as many calls of one row, so that two sizes are measured.
    """
    call(1)  # traces it
    one = _measure_seconds(call, 1)
    rows = min(_MEASURED_ROWS, count_batch_rows(tokens))
    if rows == 1:
        return PassCost(0.0, one / tokens)
    per_row = max(0.0, _measure_seconds(call, rows) - one) / (rows - 1)
    return PassCost(max(0.0, one - per_row), per_row / tokens)


def _measure_seconds(call: Callable[[int], object], rows: int) -> float:
    start = perf_counter()
    call(rows)
    return perf_counter() - start
