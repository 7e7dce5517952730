"""The logs of workers that score, also of pods that are gone, and the rows that each did."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.kubeflow.run_logs import parse_progress_events
from tests.support.real_kfp.run_objects import RunObjects

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class ScoredRows:
    """What one pod has scored: it began at `start` of its rank's rows and reported up to `end`.

    A pod reports once a second, so one that was killed may have scored some rows more.
    """

    pod: str
    rank: int
    start: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.start


class WorkerLogs:
    """Follows the logs of all pods of a JobSet, from the start of each, in a thread."""

    def __init__(self, run: RunObjects, jobset: str, directory: Path) -> None:
        self._run, self._jobset, self._directory = run, jobset, directory
        self._ranks: dict[str, int] = {}
        self._followers: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow_new_pods, daemon=True)

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(30)
        for follower in self._followers:
            follower.kill()
            follower.wait()

    def list_scored_rows(self, unit_rows: int) -> list[ScoredRows]:
        """What each pod has scored so far, in the order in which they were started."""
        found = []
        for pod, rank in self._ranks.items():
            lines = self._path(pod).read_text(errors="replace").splitlines()
            done = [event.done for event in parse_progress_events(lines) if event.done]
            if done:  # the first report is that of the first batch of a unit
                start = (int(done[0]) - 1) // unit_rows * unit_rows
                found.append(ScoredRows(pod, rank, start, int(max(done))))
        return found

    def _path(self, pod: str) -> Path:
        return self._directory / f"{pod}.log"

    def _follow_new_pods(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            for pod in self._run.list_worker_pods(self._jobset):
                name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
                if name in self._ranks or pod["status"]["phase"] == "Pending":
                    continue
                command = ["kubectl", "--namespace", self._run.namespace, "logs", "--follow", name]
                with self._path(name).open("wb") as stream:
                    self._followers.append(
                        subprocess.Popen(command, stdout=stream, stderr=subprocess.DEVNULL)
                    )
                self._ranks[name] = int(labels["batch.kubernetes.io/job-completion-index"])
