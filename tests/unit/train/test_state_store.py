"""Saves that are still uploading, and the lock of a directory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.errors import KubertError
from components.train.checkpointing import directory_state_store, state_store
from components.train.checkpointing.directory_state_store import open_directory_store
from components.train.checkpointing.state_store import PendingSave


@pytest.fixture
def uploader() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def test_a_failed_upload_is_raised_by_whoever_waits_for_it(uploader: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise OSError("the store is gone")

    pending = PendingSave(uploader.submit(fail))
    with pytest.raises(OSError, match="the store is gone"):
        pending.wait_until_finished(lambda: None)


def test_waiting_for_an_upload_sends_heartbeats(
    uploader: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_store, "SAVE_POLL_SECONDS", 0.01)
    enough, heartbeats = threading.Event(), []
    pending = PendingSave(uploader.submit(lambda: _wait(enough)))

    def heartbeat() -> None:
        heartbeats.append(1)
        if len(heartbeats) == 3:
            enough.set()

    pending.wait_until_finished(heartbeat)
    assert len(heartbeats) >= 3


def test_a_save_that_is_durable_needs_no_waiting() -> None:
    def heartbeat() -> None:
        raise AssertionError("there is nothing to wait for")

    PendingSave.already_durable().wait_until_finished(heartbeat)


def test_one_chief_at_a_time_has_the_lock_of_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_state_store, "LOCK_TIMEOUT_SECONDS", 0.0)
    first, second = (open_directory_store(tmp_path / "state").lock for _ in range(2))
    first.acquire()
    with pytest.raises(KubertError, match="another run is training here"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def _wait(event: threading.Event) -> None:
    assert event.wait(30)
