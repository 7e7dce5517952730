"""Training goes on while its last checkpoint is uploaded; a failed upload is never overlooked."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

TICK = 1.0


class Uploads:
    """One upload at a time: the next one waits for the one before, so at most one checkpoint is not in the store yet."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._running: Future[None] | None = None

    def start(self, upload: Callable[[], None]) -> None:
        """Begin an upload; the one before must have been settled."""
        assert self._running is None
        self._running = self._pool.submit(upload)

    def settle(self, beat: Callable[[], None]) -> None:
        """Return when nothing is being uploaded, calling `beat` all the while; raises what the last upload failed with."""
        if self._running is None:
            return
        while not wait([self._running], TICK).done:
            beat()
        running, self._running = self._running, None
        running.result()
