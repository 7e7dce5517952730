"""The estimate of an explanation's cost: from two calls to batches of any size."""

from __future__ import annotations

import pytest

from components.explain.attribution import MAX_BATCH_ROWS, MAX_BATCH_TOKENS
from components.explain.pass_cost import PassCost, measure_cost

PER_CALL, PER_TOKEN = 0.5, 0.01


class Clock:
    """A clock that calls move: PER_CALL seconds each, and PER_TOKEN per token."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
        self.now, self.tokens, self.rows = 0.0, tokens, list[int]()
        monkeypatch.setattr("components.explain.pass_cost.perf_counter", lambda: self.now)

    def call(self, rows: int) -> None:
        self.rows.append(rows)
        self.now += PER_CALL + PER_TOKEN * rows * self.tokens


@pytest.mark.parametrize("tokens", [1, 12, 100, 256])
def test_calls_and_tokens_have_costs_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    clock = Clock(monkeypatch, tokens)
    cost = measure_cost(clock.call, tokens)
    assert (cost.per_call, cost.per_token) == pytest.approx((PER_CALL, PER_TOKEN))
    assert max(clock.rows) * tokens <= MAX_BATCH_TOKENS


def test_texts_too_long_for_a_batch_of_two_cost_what_one_row_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, 512)
    cost = measure_cost(clock.call, 512)
    assert cost.estimate_seconds(3, 512) == pytest.approx(3 * (PER_CALL + 512 * PER_TOKEN))
    assert set(clock.rows) == {1}


def test_the_seconds_are_those_of_the_batches() -> None:
    cost = PassCost(PER_CALL, PER_TOKEN)
    rows = 2 * MAX_BATCH_ROWS + 2
    assert cost.estimate_seconds(rows, 10) == pytest.approx(3 * PER_CALL + rows * 10 * PER_TOKEN)
    assert cost.estimate_seconds(0, 10) == 0


def test_a_call_that_happens_to_be_slow_gives_no_negative_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = iter([0.0, 9.0, 9.0, 10.0])
    monkeypatch.setattr("components.explain.pass_cost.perf_counter", lambda: next(moments))
    assert measure_cost(lambda _rows: None, 10) == PassCost(9.0, 0.0)
