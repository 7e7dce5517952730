"""Sums and barriers over all workers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from components.workers.topology import WorkerTopology


class WorkerCollectives:
    """Operations that all workers call in the same order; each waits for all of them."""

    def __init__(self, strategy: tf.distribute.Strategy, topology: WorkerTopology) -> None:
        self._strategy = strategy
        self.rank, self.workers = topology.rank, len(topology.workers)
        self.is_chief = topology.is_chief
        self._replicas_per_worker: int = strategy.num_replicas_in_sync // self.workers

    def sum(self, value: int) -> int:
        """The sum of the workers' values."""

        @tf.function
        def add(mine: Any) -> Any:
            per_replica = self._strategy.run(lambda one: one, args=(mine,))
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

        return int(add(tf.constant(value, tf.int64))) // self._replicas_per_worker

    def barrier(self) -> None:
        """Return when every worker has called this."""
        self.sum(1)
