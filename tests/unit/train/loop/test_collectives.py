"""The strategy asks for the implementation of its collectives, and its graph has the request."""

from __future__ import annotations

import logging

import pytest
import tensorflow as tf

from components.train.loop import collectives
from components.train.loop.collectives import WorkerCollectives, choose_communication
from components.workers.topology import WorkerTopology


@pytest.mark.parametrize(("gpus", "implementation"), [(0, "RING"), (1, "NCCL"), (8, "NCCL")])
def test_nccl_is_asked_for_where_a_worker_has_gpus(gpus: int, implementation: str) -> None:
    assert choose_communication(gpus) == implementation
    # TensorFlow writes the value into its operations, and its kernels compare it with "nccl".
    assert hasattr(tf.distribute.experimental.CommunicationImplementation, implementation)


def test_a_worker_without_gpus_logs_the_ring_and_sums_over_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger=collectives.__name__):
        strategy = collectives.create_strategy()
    assert "1 replicas, here on" in caplog.text
    assert "summed by RING" in caplog.text
    workers = WorkerCollectives(strategy, WorkerTopology(workers=("127.0.0.1:1",), rank=0))
    assert workers.sum(14) == 14
    workers.barrier()
