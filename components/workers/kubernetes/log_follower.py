"""Follows workers' logs through restarts: forwards progress events, keeps the last lines."""

from __future__ import annotations

import datetime
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial

from components import progress
from components.progress import ProgressEvent
from components.workers.kubernetes.client import JobSetClient
from components.workers.kubernetes.status import WorkerPod
from components.workers.log_lines import unwrap_log_line

MAX_LINES = 40
RECONNECT_SECONDS = 1.0
DRAIN_SECONDS = 10.0
CLOCK_SKEW_SECONDS = 10


class LogFollower:
    """Reads the log of each pod of some workers once, from its first line to its last, in a thread.

    workers: how many are followed; 1 means the chief alone.
    combine: returns the event to report for one of the worker with this rank.
    """

    def __init__(
        self,
        client: JobSetClient,
        workers: int = 1,
        combine: Callable[[int, ProgressEvent], ProgressEvent] = lambda _rank, event: event,
    ) -> None:
        self._client, self._workers, self._combine = client, workers, combine
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._ended: set[str] = set()
        self._last_lines: defaultdict[str, deque[str]] = defaultdict(
            partial(deque, maxlen=MAX_LINES)
        )

    def follow(self, pods: Sequence[WorkerPod]) -> None:
        """Begin to follow those of all present pods that started since."""
        running = {pod.uid for pod in pods if pod.exit_code is None and not pod.is_deleting}
        self._ended.update(self._threads.keys() - running)
        for pod in pods:
            is_followed = pod.rank < self._workers and pod.has_started
            if is_followed and pod.uid not in self._threads:
                self._start_thread(pod)

    def last_lines(self, pod: WorkerPod) -> list[str]:
        """Return the last lines of a pod's log; none of a worker that is not followed."""
        return list(self._last_lines[pod.uid])

    def drain(self) -> None:
        """Return when the logs are read to their ends, after DRAIN_SECONDS each at most."""
        self._ended.update(self._threads)
        for thread in self._threads.values():
            thread.join(DRAIN_SECONDS)

    def _start_thread(self, pod: WorkerPod) -> None:
        thread = threading.Thread(
            target=self._read_log, args=(pod,), daemon=True, name=f"log-{pod.name}"
        )
        self._threads[pod.uid] = thread
        thread.start()

    def _read_log(self, pod: WorkerPod) -> None:
        last_timestamp = ""
        while True:
            # Read before connecting: if the pod had ended by then, the log's end is its last line.
            has_ended = pod.uid in self._ended
            for line in self._client.stream_log(pod.name, _seconds_since(last_timestamp)):
                timestamp, _, text = line.partition(" ")
                if timestamp > last_timestamp:
                    last_timestamp = timestamp
                    self._handle_line(pod, text)
            if has_ended:
                return
            threading.Event().wait(RECONNECT_SECONDS)

    def _handle_line(self, pod: WorkerPod, line: str) -> None:
        if (event := progress.parse_progress_event(line)) is None:
            self._last_lines[pod.uid].append(unwrap_log_line(line))
            return
        with self._lock:
            progress.write_progress_event(self._combine(pod.rank, event))


def _seconds_since(timestamp: str) -> int | None:
    """Return the seconds since a log line was written, with room for clocks that differ."""
    if not timestamp:
        return None
    written_at = datetime.datetime.fromisoformat(timestamp[:19] + "+00:00")
    elapsed = datetime.datetime.now(datetime.UTC) - written_at
    return max(1, int(elapsed.total_seconds()) + CLOCK_SKEW_SECONDS)
