"""The chief's log, followed through restarts: its progress becomes the launcher's own, and its last lines are kept."""

from __future__ import annotations

import datetime
import threading
from collections import deque
from collections.abc import Sequence

from components import progress
from components.workers.kubernetes.client import JobSetClient
from components.workers.kubernetes.status import WorkerPod

KEPT = 40
RECONNECT = 1.0
DRAIN = 10.0


class LogFollower:
    """Follows each chief's pod once, from its first line to its last."""

    def __init__(self, api: JobSetClient) -> None:
        self._api = api
        self._threads: dict[str, threading.Thread] = {}
        self._ended: set[str] = set()
        self.last_lines: deque[str] = deque(maxlen=KEPT)

    def follow(self, pods: Sequence[WorkerPod]) -> None:
        """Of all the gang's pods as they are now, begin to follow a chief's that has started and is not followed yet."""
        alive = {pod.uid for pod in pods if pod.exit_code is None and not pod.deleting}
        self._ended.update(self._threads.keys() - alive)
        for pod in pods:
            if pod.rank == 0:
                self._begin(pod)

    def _begin(self, pod: WorkerPod) -> None:
        if pod.started and pod.uid not in self._threads:
            self.last_lines.clear()
            thread = threading.Thread(
                target=self._read, args=(pod,), daemon=True, name=f"log-{pod.name}"
            )
            self._threads[pod.uid] = thread
            thread.start()

    def drain(self) -> None:
        """Return when what the pods that ended have said is handed on, or after DRAIN seconds."""
        self._ended.update(self._threads)
        for thread in self._threads.values():
            thread.join(DRAIN)

    def _read(self, pod: WorkerPod) -> None:
        last = ""
        while True:
            ended = (
                pod.uid in self._ended
            )  # asked before the connection, whose end then is the log's
            for line in self._api.log_lines(pod.name, _seconds_since(last)):
                stamp, _, text = line.partition(" ")
                if stamp > last:
                    last = stamp
                    self._take(text)
            if ended:
                return
            threading.Event().wait(RECONNECT)

    def _take(self, line: str) -> None:
        if (event := progress.parse_progress_event(line)) is None:
            self.last_lines.append(line)
        else:
            progress.write_progress_event(event)


def _seconds_since(stamp: str) -> int | None:
    """Seconds from a log line's time until now, rounded up with room for clocks that differ; None for no time."""
    if not stamp:
        return None
    then = datetime.datetime.fromisoformat(stamp[:19] + "+00:00")
    return max(1, int((datetime.datetime.now(datetime.UTC) - then).total_seconds()) + 10)
