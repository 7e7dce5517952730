"""Adds up the progress of independent workers into the progress of their group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.progress import ProgressEvent

RATE_SUFFIX = "_per_second"
"""Metrics whose names end so are added up; any other value is that of one worker only."""


class ProgressSum:
    """The newest progress of each worker, and their sum.

    A worker reports how much of its own part is done. One that was started again counts from what
    its predecessor has finished, so the sum may fall, but ends at the total.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._newest: dict[int, ProgressEvent] = {}

    def add(self, rank: int, event: ProgressEvent) -> ProgressEvent:
        """Return the event to report for one of a worker: of the group if it counts units.

        The total is unknown until all workers know theirs.
        """
        if event.kind is not None or event.done is None:
            return event
        self._newest[rank] = event
        events = self._newest.values()
        totals = [event.total for event in events if event.total is not None]
        return replace(
            event,
            done=sum(event.done or 0.0 for event in events),
            total=sum(totals) if len(totals) == self._workers else None,
            metrics=self._sum_rates(event.metrics),
        )

    def _sum_rates(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sums of the rates in `metrics`, of the workers that still work."""
        working = [event for event in self._newest.values() if not _is_done(event)]
        return {
            name: sum(event.metrics.get(name, 0.0) for event in working)
            for name in metrics
            if name.endswith(RATE_SUFFIX)
        }


def _is_done(event: ProgressEvent) -> bool:
    return event.total is not None and event.done == event.total
