from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.schema import DEFAULT_LENGTH_BUCKETS, TrainConfig
from components.train.loop.batch_plan import (
    EpochPlan,
    _random,
    count_batches,
    padding_efficiency,
    plan_by_length,
    plan_epoch,
    replica_slice,
    select_length_buckets,
    select_train_buckets,
)

Lengths = npt.NDArray[np.int32]
EDGES = (8, 16, 24, 64)
LENGTHS = st.lists(st.integers(1, EDGES[-1]), min_size=1, max_size=90).map(
    lambda values: np.array(values, np.int32)
)


def plan(
    lengths: Lengths, *, batch_size: int = 8, window: int = 3, seed: int = 5, epoch: int = 0
) -> EpochPlan:
    return plan_epoch(
        lengths, batch_size=batch_size, buckets=EDGES, window=window, seed=seed, epoch=epoch
    )


def lengths_like_news(rows: int) -> Lengths:
    """Log-normal, about 53 tokens in the mean with a tail to 128, as short news items have."""
    values = np.random.default_rng(11).lognormal(np.log(50), 0.36, rows)
    return np.clip(np.rint(values), 8, 128).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(
    lengths=LENGTHS,
    batch_size=st.integers(1, 20),
    window=st.integers(1, 5),
    epoch=st.integers(0, 3),
)
def test_every_row_is_seen_once_in_batches_of_which_one_may_be_short(
    lengths: Lengths, batch_size: int, window: int, epoch: int
) -> None:
    made = plan(lengths, batch_size=batch_size, window=window, epoch=epoch)
    assert sorted(
        np.concatenate([made.batch(index) for index in range(len(made))]).tolist()
    ) == list(range(len(lengths)))
    assert len(made) == count_batches(len(lengths), batch_size)
    full, rest = divmod(len(lengths), batch_size)
    assert sorted(np.diff(made.starts).tolist()) == sorted(
        [batch_size] * full + [rest] * (rest > 0)
    )


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, batch_size=st.integers(1, 20), window=st.integers(1, 5))
def test_widths_are_the_narrowest_buckets_that_hold_the_longest_row(
    lengths: Lengths, batch_size: int, window: int
) -> None:
    for made in (
        plan(lengths, batch_size=batch_size, window=window),
        plan_by_length(lengths, batch_size=batch_size, buckets=EDGES),
    ):
        for index, width in enumerate(made.widths):
            longest = lengths[made.batch(index)].max()
            assert width == min(edge for edge in EDGES if edge >= longest)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 70), replicas=st.integers(1, 9))
def test_replica_slices_cover_a_batch_in_order_and_differ_by_one_row_at_most(
    rows: int, replicas: int
) -> None:
    slices = [replica_slice(rows, replica, replicas) for replica in range(replicas)]
    assert [row for part in slices for row in range(rows)[part]] == list(range(rows))
    sizes = [part.stop - part.start for part in slices]
    assert max(sizes) - min(sizes) <= 1


def test_seed_and_epoch_alone_decide_the_order() -> None:
    lengths = lengths_like_news(500) % 60 + 1
    first = plan(lengths)
    again = plan(lengths.copy())
    assert first.order.tolist() == again.order.tolist()
    assert first.widths.tolist() == again.widths.tolist()
    others = [plan(lengths, epoch=1), plan(lengths, epoch=2), plan(lengths, seed=6)]
    orders = {tuple(made.order.tolist()) for made in (first, *others)}
    assert len(orders) == 4


def test_epochs_do_not_share_random_numbers() -> None:
    # Streams that start one counter apart draw the same numbers, shifted by one.
    dealt = [set(_random(5, epoch).integers(0, 2**63, 1000).tolist()) for epoch in range(3)]
    assert len(set.union(*dealt)) == 3000


def test_a_window_of_one_batch_does_not_group_rows() -> None:
    lengths = np.random.default_rng(2).integers(1, 64, 640).astype(np.int32)
    ungrouped = [lengths[made].std() for made in _batches(plan(lengths, batch_size=16, window=1))]
    grouped = [lengths[made].std() for made in _batches(plan(lengths, batch_size=16, window=40))]
    assert min(ungrouped) > 8
    assert max(grouped) < 3


def test_the_short_batch_is_a_random_draw() -> None:
    # 10 rows remain. The end of the sorted rows would be the same long rows each time.
    lengths = np.arange(1, 63, dtype=np.int32)
    drawn = []
    for epoch in range(40):
        made = plan(lengths, batch_size=13, window=10, epoch=epoch)
        short = int(np.flatnonzero(np.diff(made.starts) == 10)[0])
        drawn.append(lengths[made.batch(short)])
    assert abs(np.mean(drawn) - lengths.mean()) < 3
    assert len({tuple(sorted(rows)) for rows in map(tuple, drawn)}) == 40


def test_the_short_batch_is_not_always_the_last() -> None:
    lengths = np.full(100, 9, np.int32)
    positions = {
        int(np.argmin(np.diff(plan(lengths, batch_size=16, epoch=epoch).starts)))
        for epoch in range(12)
    }
    assert len(positions) > 2


def test_batches_of_all_lengths_come_in_any_order() -> None:
    lengths = np.random.default_rng(3).integers(1, 64, 2000).astype(np.int32)
    means = [lengths[rows].mean() for rows in _batches(plan(lengths, batch_size=20, window=100))]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.35


def test_grouping_in_windows_saves_most_of_the_padding_of_news() -> None:
    lengths = lengths_like_news(20_000)
    buckets = select_length_buckets(TrainConfig(), 128)

    def efficiency(window: int, edges: tuple[int, ...]) -> float:
        return padding_efficiency(
            plan_epoch(lengths, batch_size=32, buckets=edges, window=window, seed=1, epoch=0),
            lengths,
        )

    assert efficiency(1, (128,)) == pytest.approx(lengths.mean() / 128)
    assert efficiency(1, buckets) < 0.65
    assert efficiency(50, buckets) > 0.91


def test_in_order_of_length_is_every_row_from_the_shortest_to_the_longest() -> None:
    lengths = np.array([5, 9, 1, 64, 5], np.int32)
    made = plan_by_length(lengths, batch_size=2, buckets=EDGES)
    assert made.order.tolist() == [2, 0, 4, 1, 3]
    assert made.widths.tolist() == [8, 16, 64]


@pytest.mark.parametrize(
    ("buckets", "max_length", "usable"),
    [
        ((16, 32, 64), 64, (16, 32, 64)),
        ((16, 32, 64), 40, (16, 32, 40)),
        ((64,), 20, (20,)),
        (DEFAULT_LENGTH_BUCKETS[:3], 512, (8, 16, 24, 512)),
    ],
    ids=["equal", "between", "all wider", "none as wide"],
)
def test_the_last_bucket_is_always_max_length(
    buckets: tuple[int, ...], max_length: int, usable: tuple[int, ...]
) -> None:
    assert select_length_buckets(TrainConfig(length_buckets=buckets), max_length) == usable


@pytest.mark.parametrize(
    ("buckets", "xla", "chosen"),
    [
        pytest.param(range(8, 129, 8), True, (32, 64, 96, 128), id="a_quarter"),
        pytest.param((16, 32, 48, 64, 80), True, (16, 48, 80), id="not_divisible"),
        pytest.param((48,), True, (48,), id="one"),
        pytest.param((16, 32, 48, 64, 80), False, (16, 32, 48, 64, 80), id="all_without_xla"),
    ],
)
def test_the_widths_of_training_batches(
    buckets: Iterable[int], xla: bool, chosen: tuple[int, ...]
) -> None:
    assert select_train_buckets(TrainConfig(xla=xla), tuple(buckets)) == chosen


def test_padding_efficiency_counts_real_tokens_among_positions() -> None:
    lengths = np.array([4, 8, 10], np.int32)
    made = plan_by_length(lengths, batch_size=2, buckets=EDGES)
    assert padding_efficiency(made, lengths) == pytest.approx(22 / (2 * 8 + 16))


def _batches(made: EpochPlan) -> list[npt.NDArray[np.int64]]:
    return [made.batch(index) for index in range(len(made))]


def test_a_batch_of_windows_is_as_wide_as_whole_windows_and_has_no_more_of_them() -> None:
    buckets = select_length_buckets(TrainConfig(length_buckets=(4, 12)), 8, max_windows=3)
    assert buckets == (4, 8, 16, 24)
    lengths = np.array([24, 3, 8, 16, 4, 16, 7], np.int32)
    made = plan_by_length(lengths, batch_size=3, buckets=buckets, max_length=8)
    batches = [lengths[made.batch(index)].tolist() for index in range(len(made))]
    assert batches == [[3, 4, 7], [8], [16], [16], [24]]
    assert made.widths.tolist() == [8, 8, 16, 16, 24]
