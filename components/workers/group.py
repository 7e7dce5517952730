"""What a launcher knows about a group of equal worker processes, but not what they compute."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from components.progress import StepName


@dataclass(frozen=True)
class WorkerGroup:
    """Equal worker processes that start and end together, on this machine or as a JobSet.

    step: the pipeline step that the workers do. Progress events and Kubernetes objects are named
        after it.
    module: Python module that each worker runs, with the path or URI of the job document as its
        only argument.
    job_document: JSON text that tells all workers what to do. Two groups with equal documents on
        equal clusters are the same group.
    directory: directory or URI that all workers reach. In a cluster the document is written there.
    max_restarts: restarts of the whole group after a worker failed, or of each independent worker;
        preemptions are not counted.
    is_finished: whether the result of the group exists, so that no worker has to start.
    workers_option, restart_option: the options of the configuration that set `workers` and
        `max_restarts`; empty if there is none. Messages name them.
    memory_remedy: the options to change when a worker runs out of memory, as a clause; may be
        empty.
    independent: the workers do not meet: each does its part alone, finds what it has finished in
        `directory`, and is started again alone when it fails. They report progress in units of
        their own parts, which the launcher adds up.
    """

    step: StepName
    workers: int
    module: str
    job_document: str
    directory: str
    max_restarts: int
    is_finished: Callable[[], bool]
    workers_option: str
    restart_option: str = ""
    memory_remedy: str = ""
    independent: bool = False

    def format_job_document(self) -> str:
        """Return the job document as it is written to a file: indented, for people who debug."""
        return json.dumps(json.loads(self.job_document), indent=2, ensure_ascii=False) + "\n"

    def describe_out_of_memory(self, rank: int) -> str:
        """Return the error message about a worker that this machine had too little memory for."""
        remedy, fewer = self.memory_remedy, self.workers_option
        if not remedy:
            return f"worker {rank} was killed for lack of memory; lower {fewer}"
        return f"worker {rank} was killed for lack of memory; {remedy}, or lower {fewer}"


def format_restart_limit(option: str, max_restarts: int) -> str:
    """How often workers may be restarted, by the option that says it, if there is one."""
    return f"{option}={max_restarts}" if option else f"at most {max_restarts}"
