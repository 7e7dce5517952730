from __future__ import annotations

import threading

import pytest

from components.train.checkpointing import object_state_store
from components.train.checkpointing.object_state_store import CheckpointUploader


def test_a_failed_upload_is_raised_by_whoever_waits_next() -> None:
    def fail() -> None:
        raise OSError("the store is gone")

    under_way = CheckpointUploader()
    under_way.start(fail)
    with pytest.raises(OSError, match="the store is gone"):
        under_way.settle(lambda: None)
    under_way.settle(lambda: None)


def test_waiting_for_an_upload_keeps_the_watchdog_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_state_store, "POLL_SECONDS", 0.01)
    enough, beats = threading.Event(), []
    under_way = CheckpointUploader()
    under_way.start(lambda: _wait(enough))

    def beat() -> None:
        beats.append(1)
        if len(beats) == 3:
            enough.set()

    under_way.settle(beat)
    assert len(beats) >= 3


def _wait(event: threading.Event) -> None:
    assert event.wait(30)
