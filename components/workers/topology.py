"""The worker's rank and its peers' addresses: from TF_CONFIG, else from the JobSet, else alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.config.environment import ENV_WORKERS
from components.errors import ConfigError

WORKER_PORT = 2222
"""The port of TensorFlow's server in a worker's pod."""


class WorkerTopology(BaseModel):
    """The workers of a group, as host:port in the order of their ranks, and this worker's rank."""

    model_config = ConfigDict(frozen=True)
    workers: tuple[str, ...] = Field(min_length=1)
    rank: int = Field(ge=0)

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker of rank 0, which commits checkpoints and reports progress."""
        return self.rank == 0

    def to_tf_config(self) -> str:
        """Return the value of TF_CONFIG that MultiWorkerMirroredStrategy reads."""
        return json.dumps(
            {
                "cluster": {"worker": list(self.workers)},
                "task": {"type": "worker", "index": self.rank},
            }
        )


def topology_from_environment(environment: Mapping[str, str]) -> WorkerTopology:
    """Return the topology that the variables describe; ConfigError if they are contradictory.

    TF_CONFIG takes precedence over the variables that a JobSet's pods have. Without either the
    worker is alone.
    """
    if "TF_CONFIG" in environment:
        return _parse_tf_config(environment["TF_CONFIG"])
    if "JOBSET_NAME" in environment:
        return _parse_jobset_variables(environment)
    return WorkerTopology(workers=(f"127.0.0.1:{find_free_port()}",), rank=0)


def find_free_port() -> int:
    """Return a TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def find_local_topologies(count: int) -> list[WorkerTopology]:
    """Return the topology of each worker, on ports of the loopback interface that were free."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        workers = tuple(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
    return [WorkerTopology(workers=workers, rank=rank) for rank in range(count)]


def _parse_tf_config(text: str) -> WorkerTopology:
    try:
        value = json.loads(text)
        topology = WorkerTopology(workers=value["cluster"]["worker"], rank=value["task"]["index"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(
            "TF_CONFIG: needs cluster.worker (a list of host:port) and task.index; "
            f"{type(error).__name__}: {error}"
        ) from None
    if topology.rank >= len(topology.workers):
        raise ConfigError(
            f"TF_CONFIG: task.index is {topology.rank}, "
            f"but there are {len(topology.workers)} workers"
        )
    return topology


def _parse_jobset_variables(environment: Mapping[str, str]) -> WorkerTopology:
    try:
        jobset, job = environment["JOBSET_NAME"], environment["REPLICATED_JOB"]
        rank, count = int(environment["JOB_COMPLETION_INDEX"]), int(environment[ENV_WORKERS])
        job_index = int(environment.get("JOB_INDEX", "0"))
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"the environment of the JobSet's pod: {error} is missing or is not a number"
        ) from None
    if not 0 <= rank < count:
        raise ConfigError(f"JOB_COMPLETION_INDEX is {rank}, but {ENV_WORKERS} is {count}")
    hosts = (f"{jobset}-{job}-{job_index}-{index}.{jobset}" for index in range(count))
    return WorkerTopology(workers=tuple(f"{host}:{WORKER_PORT}" for host in hosts), rank=rank)
