"""The distribution strategy of a worker, and sums and barriers over all workers."""

from __future__ import annotations

import logging
from typing import Any, Literal

import tensorflow as tf

from components.train.loop.input_pipeline import HOST_DEVICE
from components.workers.topology import WorkerTopology

_LOGGER = logging.getLogger(__name__)


def choose_communication(gpus: int) -> Literal["NCCL", "RING"]:
    """NCCL where this worker has GPUs, else TensorFlow's ring over gRPC.

    It has to be asked for: left to itself (AUTO), TensorFlow 2.20 never takes NCCL. Asked for NCCL
    on devices without it, it uses its ring.
    """
    return "NCCL" if gpus else "RING"


def create_strategy() -> tf.distribute.MultiWorkerMirroredStrategy:
    """The strategy with a replica per visible GPU, or one on the CPU; waits for the workers that
    TF_CONFIG names.
    """
    # Not the logical devices: listing them starts TensorFlow's context, which is too early for
    # collectives.
    implementation = choose_communication(len(tf.config.get_visible_devices("GPU")))
    strategy = tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation[implementation]
        )
    )
    _LOGGER.info(
        "%d replicas, here on %s; gradients are summed by %s",
        strategy.num_replicas_in_sync,
        ", ".join(strategy.extended.worker_devices),
        implementation,
    )
    return strategy


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
            # `tf.identity` makes a tensor of its own for every replica. Were the argument returned
            # as it is, it would not be a value per replica, and be added once per worker only.
            per_replica = self._strategy.run(tf.identity, args=(mine,))
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

        with tf.device(HOST_DEVICE):
            mine = tf.constant(value, tf.int64)
        return int(add(mine)) // self._replicas_per_worker

    def barrier(self) -> None:
        """Return when every worker has called this."""
        self.sum(1)
