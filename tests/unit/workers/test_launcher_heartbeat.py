"""The launcher's heartbeat and its watch, with times of tenths of a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import KubertError
from components.storage.local import LocalBackend
from components.storage.store import Store, open_store
from components.workers.launcher_heartbeat import (
    LauncherHeartbeat,
    LauncherWatch,
    WatchLimits,
    heartbeat_key,
    read_heartbeat,
)

JOBSET = "kubert-train-x"
KEY = heartbeat_key(JOBSET)
INTERVAL = 0.05
LIMITS = WatchLimits(poll=0.02, first_silence=0.4, silence=0.8)


class UnreliableBackend(LocalBackend):
    """A store that refuses reads or writes while `fails`; refusals are not repeated."""

    fails = False

    def get_size(self, key: str) -> int | None:
        if self.fails:
            raise PermissionError("refused")
        return super().get_size(key)


class Watch:
    """A watch, and whether it has called for the end."""

    def __init__(self, store: Store) -> None:
        self.lost = threading.Event()
        self.watch = LauncherWatch(store, JOBSET, self.lost.set, LIMITS)

    def wait(self, stop: threading.Event | None = None) -> threading.Thread:
        """Wait in a thread, as a worker that failed does."""
        target = self.watch.wait_for_heartbeat
        waiting = threading.Thread(target=target, args=[stop or threading.Event()], daemon=True)
        waiting.start()
        return waiting


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_heartbeat_changes_and_is_removed_at_the_end(store: Store) -> None:
    seen = set()
    with LauncherHeartbeat(store, JOBSET, INTERVAL) as heartbeat:
        seen.add(read_heartbeat(store, KEY))  # before the block starts
        assert heartbeat.wait_for_next(threading.Event(), timeout=20)
        seen.add(read_heartbeat(store, KEY))
    assert len(seen) == 2
    assert store.list() == []


def test_a_launcher_that_is_there_is_not_lost(store: Store) -> None:
    with LauncherHeartbeat(store, JOBSET, INTERVAL):
        watch = Watch(store)
        assert not watch.lost.wait(2 * LIMITS.silence)
        assert not watch.watch.is_launcher_lost()


@pytest.mark.parametrize("is_left", [True, False], ids=["silent_since", "never_there"])
def test_a_launcher_that_was_never_seen_is_lost_early(is_left: bool, store: Store) -> None:
    if is_left:
        store.write(KEY, b"of a launcher that was killed")
    started = time.monotonic()
    watch = Watch(store)
    assert watch.lost.wait(20)
    assert LIMITS.first_silence <= time.monotonic() - started
    assert watch.watch.is_launcher_lost()


def test_a_launcher_that_was_seen_is_lost_later(store: Store) -> None:
    with LauncherHeartbeat(store, JOBSET, INTERVAL):
        watch = Watch(store)
        time.sleep(LIMITS.first_silence)
        left = read_heartbeat(store, KEY)
    store.write(KEY, left)
    silent = time.monotonic()
    assert watch.lost.wait(20)
    assert time.monotonic() - silent > LIMITS.first_silence + LIMITS.poll


def test_time_in_which_the_store_cannot_be_read_does_not_count(tmp_path: Path) -> None:
    backend = UnreliableBackend(tmp_path)
    store = Store(backend, str(tmp_path))
    with LauncherHeartbeat(store, JOBSET, INTERVAL) as heartbeat:
        watch = Watch(store)
        backend.fails = True
        assert not watch.lost.wait(2 * LIMITS.silence)
        backend.fails = False
        assert heartbeat.wait_for_next(threading.Event(), timeout=20)  # it went on by itself
        assert not watch.watch.is_launcher_lost()
    assert watch.lost.wait(20)


def test_a_worker_that_failed_waits_for_a_heartbeat(store: Store) -> None:
    with LauncherHeartbeat(store, JOBSET, INTERVAL):
        watch = Watch(store)
        watch.wait().join(20)
        assert not watch.watch.is_launcher_lost()


def test_a_worker_that_failed_waits_until_the_launcher_is_back(store: Store) -> None:
    watch = Watch(store)
    waiting = watch.wait()
    waiting.join(LIMITS.first_silence / 4)
    assert waiting.is_alive()
    with LauncherHeartbeat(store, JOBSET, INTERVAL):
        waiting.join(20)
        assert not waiting.is_alive()
        assert not watch.watch.is_launcher_lost()


def test_a_worker_that_failed_waits_until_the_launcher_is_lost(store: Store) -> None:
    watch = Watch(store)
    watch.wait().join(20)
    assert watch.watch.is_launcher_lost()


def test_a_worker_that_failed_does_not_wait_after_a_stop(store: Store) -> None:
    watch = Watch(store)
    stop = threading.Event()
    stop.set()
    watch.wait(stop).join(20)
    assert not watch.watch.is_launcher_lost()


def test_a_first_heartbeat_that_fails_is_an_error(tmp_path: Path) -> None:
    backend = UnreliableBackend(tmp_path)
    backend.fails = True
    with (
        pytest.raises(KubertError, match="access refused"),
        LauncherHeartbeat(Store(backend, str(tmp_path)), JOBSET, INTERVAL),
    ):
        pass


def test_two_launchers_know_of_each_other_and_the_last_one_removes_the_heartbeat(
    store: Store,
) -> None:
    with LauncherHeartbeat(store, JOBSET, INTERVAL) as last:
        assert not last.has_other_launcher
        with LauncherHeartbeat(store, JOBSET, INTERVAL) as first:
            wait_until(lambda: first.has_other_launcher and last.has_other_launcher)
        assert store.exists(KEY)
        wait_until(lambda: not last.has_other_launcher)
    assert not store.exists(KEY)


def test_waiting_for_a_heartbeat_ends_with_a_stop(store: Store) -> None:
    stop = threading.Event()
    stop.set()
    with LauncherHeartbeat(store, JOBSET, interval=60) as heartbeat:
        assert not heartbeat.wait_for_next(stop, timeout=60)
