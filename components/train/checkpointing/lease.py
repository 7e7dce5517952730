"""Fencing lease: only the newest chief may write to the training state in object storage.

Each chief acquires the next generation number by a conditional create and writes only below that
number, so a chief of an older generation cannot change what a newer one wrote. It finds out at its
next write, and ends. Between worker groups of different owners the lease also keeps the second one
out while the first is alive: its chief changes a heartbeat counter all the time.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from components.errors import KubertError
from components.storage.store import MissingError, Store
from components.workers import exit_codes

HEARTBEAT_INTERVAL_SECONDS = 10.0
MAX_SILENCE_SECONDS = 45.0
ACQUIRE_TIMEOUT_SECONDS = 60.0
HEARTBEAT_POLL_SECONDS = 1.0
_LEASE_PREFIX = "leases"
_RELEASED = b"released"


class LeaseLostError(KubertError):
    """A newer chief has taken over: this one belongs to a worker group that was given up."""

    exit_code = exit_codes.PEER_LOST


class Lease:
    """The right to write a training's state, a `ChiefLock`.

    `generation` is 1 for the first chief of the training, and greater for each later one; 0 before
    `acquire`.
    """

    def __init__(self, store: Store, owner: str) -> None:
        """`owner` is the same for all attempts of one worker group."""
        self._store, self._owner = store, owner
        self._stop = threading.Event()
        self.generation = 0

    def acquire(self) -> None:
        """Become the newest chief.

        KubertError if a worker group of another owner is still alive after ACQUIRE_TIMEOUT_SECONDS.
        """
        deadline = time.monotonic() + ACQUIRE_TIMEOUT_SECONDS
        while True:
            newest = self._newest_generation()
            if newest:
                owner = self._read_owner(newest)
                if owner != self._owner and self._is_alive(newest, deadline):
                    raise KubertError(
                        f"{self._store.uri()}: another run is training here ({owner}); "
                        "wait for it, or stop it"
                    )
            record = json.dumps({"owner": self._owner, "chief": uuid.uuid4().hex}).encode()
            if self._store.create(_lease_key(newest + 1), record):
                break
        self.generation = newest + 1
        threading.Thread(target=self._send_heartbeats, daemon=True, name="lease").start()

    def require_ownership(self) -> None:
        """Raise LeaseLostError if there is a newer chief."""
        if (newest := self._newest_generation()) != self.generation:
            raise LeaseLostError(
                f"{self._store.uri()}: a newer attempt (generation {newest}) trains here; "
                f"this one (generation {self.generation}) ends"
            )

    @contextmanager
    def require_ownership_throughout(self) -> Iterator[None]:
        """Raise LeaseLostError before the block, or instead of its KubertError, if it applies.

        A newer chief deletes what this one may be reading or replacing at the same time.
        """
        self.require_ownership()
        try:
            yield
        except KubertError:
            self.require_ownership()
            raise

    def release(self) -> None:
        """Let the next owner in at once."""
        self._stop.set()
        with suppress(KubertError):
            self._store.write(_heartbeat_key(self.generation), _RELEASED)

    def _newest_generation(self) -> int:
        names = (key.rpartition("/")[2] for key in self._store.list(_LEASE_PREFIX))
        return max((int(name) for name in names if name.isdigit()), default=0)

    def _read_owner(self, generation: int) -> str:
        return str(json.loads(self._store.read_bytes(_lease_key(generation)))["owner"])

    def _is_alive(self, generation: int, deadline: float) -> bool:
        """Whether its heartbeat still changes at the deadline; no clocks are compared."""
        last, last_change = self._read_heartbeat(generation), time.monotonic()
        while last != _RELEASED and time.monotonic() - last_change <= MAX_SILENCE_SECONDS:
            if time.monotonic() > deadline:
                return True
            time.sleep(HEARTBEAT_POLL_SECONDS)
            if (heartbeat := self._read_heartbeat(generation)) != last:
                last, last_change = heartbeat, time.monotonic()
        return False

    def _read_heartbeat(self, generation: int) -> bytes:
        with suppress(MissingError):
            return self._store.read_bytes(_heartbeat_key(generation))
        return b""

    def _send_heartbeats(self) -> None:
        count = 0
        while not self._stop.is_set():
            with suppress(KubertError):
                self._store.write(_heartbeat_key(self.generation), str(count).encode())
            count += 1
            self._stop.wait(HEARTBEAT_INTERVAL_SECONDS)


def _lease_key(generation: int) -> str:
    return f"{_LEASE_PREFIX}/{generation:06d}"


def _heartbeat_key(generation: int) -> str:
    return f"beats/{generation:06d}"
