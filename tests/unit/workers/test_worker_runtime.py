"""What a worker makes of the error that it ends with."""

from __future__ import annotations

import pytest

from components.workers.worker_runtime import is_disk_full, is_peer_loss

PEER_LOSSES = {
    "the peer's socket is closed": "UnavailableError",
    "the peer ended, and the collective with it": "AbortedError",
    "the peer left its step": "CancelledError",
    "the group is in an error state": "InternalError",
    "the peer does not answer": "DeadlineExceededError",
    "the peer was started again": "FailedPreconditionError",
}
OWN_FAULTS = {
    "a shape is wrong": "InvalidArgumentError",
    "the memory of a device is full": "ResourceExhaustedError",
    "a file is missing": "NotFoundError",
}


@pytest.mark.parametrize("name", PEER_LOSSES.values(), ids=PEER_LOSSES)
def test_tensorflow_reports_a_lost_peer(name: str) -> None:
    import tensorflow as tf

    assert is_peer_loss(getattr(tf.errors, name)(None, None, "a collective failed"))


@pytest.mark.parametrize("name", OWN_FAULTS.values(), ids=OWN_FAULTS)
def test_other_errors_of_tensorflow_are_the_worker_s_own(name: str) -> None:
    import tensorflow as tf

    assert not is_peer_loss(getattr(tf.errors, name)(None, None, "an operation failed"))


def test_an_error_of_python_is_no_lost_peer() -> None:
    assert not is_peer_loss(ValueError("a collective failed"))


def test_a_full_disk_is_found_in_the_text_of_any_error() -> None:
    assert is_disk_full(RuntimeError("write failed: No space left on device"))
    assert not is_disk_full(RuntimeError("write failed"))
