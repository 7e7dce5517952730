"""The progress of independent workers, added up."""

from __future__ import annotations

from components.progress import ProgressEvent, StepName
from components.workers.progress_sum import ProgressSum


def make_event(done: float, total: float | None, rate: float = 1.0) -> ProgressEvent:
    metrics = {"rows_per_second": rate, "loss": 0.5}
    return ProgressEvent(StepName.SCORE, "scoring", done=done, total=total, metrics=metrics)


def test_the_total_is_unknown_until_all_workers_know_theirs() -> None:
    added = ProgressSum(2)
    first, second = added.add(0, make_event(10, 50)), added.add(1, make_event(5, None))
    third = added.add(1, make_event(7, 40))
    assert (first.done, first.total) == (10, None)
    assert (second.done, second.total) == (15, None)
    assert (third.done, third.total) == (17, 90)


def test_a_worker_that_was_started_again_counts_once() -> None:
    added = ProgressSum(1)
    added.add(0, make_event(30, 50))
    assert added.add(0, make_event(20, 50)).done == 20


def test_rates_of_workers_that_still_work_are_added_and_other_values_left_out() -> None:
    added = ProgressSum(3)
    added.add(0, make_event(50, 50, rate=100))
    added.add(1, make_event(1, 50, rate=20))
    assert added.add(2, make_event(1, 50, rate=3)).metrics == {"rows_per_second": 23}


def test_a_message_passes_as_it_is() -> None:
    message = ProgressEvent(StepName.SCORE, "loading the model")
    note = ProgressEvent(StepName.SCORE, "3 rows rejected", kind="note")
    added = ProgressSum(2)
    assert (added.add(0, message), added.add(1, note)) == (message, note)
