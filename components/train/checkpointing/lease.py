"""Of several chiefs of one training at most the newest can still change its state in object storage.

Each chief takes the next generation number by a conditional create and writes only below that number, so a chief of an
older generation cannot touch what a newer one wrote. It finds out at its next write, and ends. Between gangs of different
owners the lease also keeps the second one out while the first lives: its chief changes a counter all the time.
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

BEAT_EVERY = 10.0
SILENCE = 45.0
PATIENCE = 60.0
_FOLDER = "leases"
_RELEASED = b"released"


class LeaseLostError(KubertError):
    """A newer chief has taken over: this one belongs to a gang that was given up."""

    exit_code = exit_codes.PEER_LOST


class Lease:
    """The right to write a training's state; `generation` is 1 for the first chief ever, and greater for each later one."""

    def __init__(self, store: Store, owner: str) -> None:
        """`owner` is the same for all attempts of one gang."""
        self._store, self._owner = store, owner
        self._stop = threading.Event()
        self.generation = 0

    def take(self) -> None:
        """Become the newest chief; KubertError while a gang of another owner lives, after PATIENCE seconds."""
        deadline = time.monotonic() + PATIENCE
        while True:
            newest = self._newest()
            if (
                newest
                and self._owner_of(newest) != self._owner
                and self._is_alive(newest, deadline)
            ):
                raise KubertError(
                    f"{self._store.uri()}: another run is training here ({self._owner_of(newest)}); wait for it, or stop it"
                )
            record = json.dumps({"owner": self._owner, "chief": uuid.uuid4().hex}).encode()
            if self._store.create(_key(newest + 1), record):
                break
        self.generation = newest + 1
        threading.Thread(target=self._beat, daemon=True, name="lease").start()

    def check(self) -> None:
        """Raise Superseded if there is a newer chief."""
        if (newest := self._newest()) != self.generation:
            raise LeaseLostError(
                f"{self._store.uri()}: a newer attempt (generation {newest}) trains here; this one (generation {self.generation}) ends"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raise Superseded, before the block or in place of what it failed with, if there is a newer chief.

        A newer chief removes what this one may be reading or replacing just then.
        """
        self.check()
        try:
            yield
        except KubertError:
            self.check()
            raise

    def release(self) -> None:
        """Let the next owner in at once."""
        self._stop.set()
        with suppress(KubertError):
            self._store.write(_beat_key(self.generation), _RELEASED)

    def _newest(self) -> int:
        names = (key.rpartition("/")[2] for key in self._store.list(_FOLDER))
        return max((int(name) for name in names if name.isdigit()), default=0)

    def _owner_of(self, generation: int) -> str:
        return str(json.loads(self._store.read_bytes(_key(generation)))["owner"])

    def _is_alive(self, generation: int, deadline: float) -> bool:
        """Whether its counter still changes at the deadline; no clocks are compared."""
        seen, since = self._counter(generation), time.monotonic()
        while seen != _RELEASED and time.monotonic() - since <= SILENCE:
            if time.monotonic() > deadline:
                return True
            time.sleep(1.0)
            if (counter := self._counter(generation)) != seen:
                seen, since = counter, time.monotonic()
        return False

    def _counter(self, generation: int) -> bytes:
        with suppress(MissingError):
            return self._store.read_bytes(_beat_key(generation))
        return b""

    def _beat(self) -> None:
        count = 0
        while not self._stop.is_set():
            with suppress(KubertError):
                self._store.write(_beat_key(self.generation), str(count).encode())
            count += 1
            self._stop.wait(BEAT_EVERY)


def _key(generation: int) -> str:
    return f"{_FOLDER}/{generation:06d}"


def _beat_key(generation: int) -> str:
    return f"beats/{generation:06d}"
