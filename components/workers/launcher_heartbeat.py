"""The launcher's heartbeat: an object in the state, by which workers know that their run goes on.

Workers have no access to Kubernetes, but they read and write the state. So the launcher changes one
object per JobSet every few seconds, from a thread that ends with its process, however that ends.
Workers compare contents, never clocks: what counts is how long the content has not changed, on the
worker's own clock. Time in which the object cannot be read does not count, because the launcher may
not be able to write it then either.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from components.config.environment import ENV_RUN
from components.errors import KubertError
from components.storage.store import MissingError, Store

INTERVAL_SECONDS = 5.0
CLOSE_TIMEOUT_SECONDS = 2.0
_LOGGER = logging.getLogger(__name__)


def heartbeat_key(jobset: str) -> str:
    """Return the key of the heartbeat below the directory of the worker group."""
    return f"launchers/{jobset}"


class LauncherHeartbeat:
    """Tells the workers of a JobSet that a launcher follows them, while the block runs.

    Enter it before the JobSet is created. Several launchers may follow one JobSet; each knows of
    the others by their heartbeats. The last one to leave removes the object. Raises KubertError if
    the first heartbeat cannot be written; later failures are logged.
    """

    def __init__(self, store: Store, jobset: str, interval: float = INTERVAL_SECONDS) -> None:
        self._store, self._key, self._interval = store, heartbeat_key(jobset), interval
        self._id = uuid.uuid4().hex
        self._run = os.environ.get(ENV_RUN, "")
        self._count = 0
        self._stop = threading.Event()
        self._other_launcher_until = 0.0
        self._thread = threading.Thread(target=self._beat_until_stopped, daemon=True, name="beats")

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(CLOSE_TIMEOUT_SECONDS)
        if not self.has_other_launcher:
            with suppress(KubertError):
                self._store.delete(self._key)

    @property
    def has_other_launcher(self) -> bool:
        """Whether another launcher wrote its heartbeat a short time ago."""
        return time.monotonic() < self._other_launcher_until

    def wait_for_next(self, stop: threading.Event, timeout: float) -> bool:
        """Wait until one more heartbeat was written; False after `timeout` seconds or a stop."""
        before, deadline = self._count, time.monotonic() + timeout
        while self._count == before:
            if time.monotonic() > deadline or stop.wait(self._interval / 10):
                return False
        return True

    def _beat(self) -> None:
        content = read_heartbeat(self._store, self._key)
        # A launcher overwrites what it finds, so what is there now was written since the last time.
        if content and self._id.encode() not in content:
            self._other_launcher_until = time.monotonic() + 3 * self._interval
        record = {"launcher": self._id, "run": self._run, "count": self._count}
        self._store.write(self._key, json.dumps(record).encode())
        self._count += 1

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self._beat()
            except Exception as error:
                _LOGGER.warning("the launcher's heartbeat could not be written: %s", error)


def read_heartbeat(store: Store, key: str) -> bytes:
    """Return the content of a heartbeat, which is empty if there is none."""
    with suppress(MissingError):
        return store.read_bytes(key)
    return b""


def is_of_this_run(heartbeat: bytes) -> bool:
    """Whether a heartbeat is that of this run on a cluster, so of an attempt that has ended."""
    run = os.environ.get(ENV_RUN)
    with suppress(ValueError):
        return bool(run) and json.loads(heartbeat).get("run") == run
    return False


@dataclass(frozen=True)
class WatchLimits:
    """Times of a `LauncherWatch` and of the worker that it is for, in seconds.

    poll: between two reads.
    first_silence: silence after which it is gone if it was never seen. A worker that was started
        again for a launcher that had just been lost would otherwise wait for all of `silence`.
    silence: silence after which it is gone if it was seen; a launcher that is restarted in its
        pod, or in a new one, is back before.
    save: from then to the end of the worker. With `silence` and two polls it makes less than a
        minute.
    """

    poll: float = 3.0
    first_silence: float = 20.0
    silence: float = 30.0
    save: float = 20.0


class LauncherWatch:
    """Watches a launcher's heartbeat, from a thread that starts at once.

    `on_lost` is called once in that thread, when the heartbeat has been silent for
    `limits.silence`, or for `limits.first_silence` without any change before.
    """

    def __init__(
        self,
        store: Store,
        jobset: str,
        on_lost: Callable[[], object],
        limits: WatchLimits,
    ) -> None:
        self._store, self._key = store, heartbeat_key(jobset)
        self._on_lost, self._limits = on_lost, limits
        self._heartbeats = 0
        self._lost = threading.Event()
        threading.Thread(target=self._watch, daemon=True, name="launcher-watch").start()

    def is_launcher_lost(self) -> bool:
        """Whether the heartbeat has been silent for too long."""
        return self._lost.is_set()

    def wait_for_heartbeat(self, stop: threading.Event) -> None:
        """Return when the launcher was seen again, when it is lost, or at a stop.

        It takes no longer than `limits.silence`, also if the store cannot be read.
        """
        before, deadline = self._heartbeats, time.monotonic() + self._limits.silence
        while self._heartbeats == before and time.monotonic() < deadline:
            if stop.wait(self._limits.poll / 10) or self._lost.is_set():
                return

    def _watch(self) -> None:
        """Add up the time in which the heartbeat has not changed."""
        last: bytes | None = None
        silence, limit = 0.0, self._limits.first_silence
        previous = time.monotonic()
        while silence < limit:
            time.sleep(self._limits.poll)
            try:
                content = read_heartbeat(self._store, self._key)
            except Exception as error:
                _LOGGER.debug("the launcher's heartbeat could not be read: %s", error)
                previous = time.monotonic()
                continue
            now = time.monotonic()
            if last is not None and content != last:
                limit = self._limits.silence
                self._heartbeats += 1
            # A process that was halted is no evidence: it takes three reads at least.
            elapsed = min(now - previous, limit / 3)
            silence = silence + elapsed if content == last else 0.0
            last, previous = content, now
        _LOGGER.error("no launcher has been there for %.0f s", limit)
        self._lost.set()
        self._on_lost()
