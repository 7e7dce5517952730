"""Several chiefs of one training: only the newest may write to its state."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import DataError, KubertError
from components.storage.store import open_store
from components.train.checkpointing import lease
from components.train.checkpointing.lease import Lease, LeaseLostError
from components.workers import exit_codes


def test_a_newer_chief_ends_the_older_one(tmp_path: Path) -> None:
    """Fault W8."""
    store = open_store(f"file://{tmp_path}")
    old, new = Lease(store, "group"), Lease(store, "group")
    old.acquire()
    old.require_ownership()
    new.acquire()
    new.require_ownership()
    with pytest.raises(
        LeaseLostError, match=r"generation 2.*this one \(generation 1\) ends"
    ) as caught:
        old.require_ownership()
    assert caught.value.exit_code == exit_codes.PEER_LOST
    with pytest.raises(DataError), new.require_ownership_throughout():
        raise DataError("damaged")
    for chief in (old, new):
        chief.release()


def test_an_error_caused_by_a_newer_chief_is_reported_as_a_lost_lease(tmp_path: Path) -> None:
    """Fault W8."""
    store = open_store(f"file://{tmp_path}")
    old, new = Lease(store, "group"), Lease(store, "group")
    old.acquire()
    with pytest.raises(LeaseLostError), old.require_ownership_throughout():
        new.acquire()
        raise DataError("the checkpoint is gone")
    for chief in (old, new):
        chief.release()


def test_a_worker_group_of_another_run_cannot_acquire_a_live_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault W8."""
    for name, value in {
        "HEARTBEAT_INTERVAL_SECONDS": 0.1,
        "MAX_SILENCE_SECONDS": 30.0,
        "ACQUIRE_TIMEOUT_SECONDS": 1.0,
    }.items():
        monkeypatch.setattr(lease, name, value)
    store = open_store(f"file://{tmp_path}")
    first, second = Lease(store, "one"), Lease(store, "two")
    first.acquire()
    with pytest.raises(KubertError, match=r"another run is training here \(one\)"):
        second.acquire()
    first.require_ownership()
    first.release()
    second.acquire()
    assert (first.generation, second.generation) == (1, 2)
    second.release()


def test_another_run_acquires_the_lease_of_a_dead_chief_after_its_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault W8."""
    for name, value in {
        "HEARTBEAT_INTERVAL_SECONDS": 600.0,
        "MAX_SILENCE_SECONDS": 0.5,
        "ACQUIRE_TIMEOUT_SECONDS": 60.0,
    }.items():
        monkeypatch.setattr(lease, name, value)
    store = open_store(f"file://{tmp_path}")
    first, second = Lease(store, "one"), Lease(store, "two")
    first.acquire()
    second.acquire()
    second.require_ownership()
