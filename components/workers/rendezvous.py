"""Who this worker is and where its peers are: from TF_CONFIG, else the JobSet's environment, else alone."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.config.environment import ENV_WORKERS
from components.errors import ConfigError, KubertError
from components.workers import exit_codes

PORT = 2222
LOOK_UP_EVERY = 0.5


class PeerNeverCame(KubertError):
    """A peer's name did not resolve, or its port did not answer, before the start deadline."""

    exit_code = exit_codes.PEER_NEVER_CAME


class Membership(BaseModel):
    """This worker's place in the gang: `workers` are host:port in order of rank."""

    model_config = ConfigDict(frozen=True)
    workers: tuple[str, ...] = Field(min_length=1)
    rank: int = Field(ge=0)

    @property
    def is_chief(self) -> bool:
        """The worker of rank 0 commits checkpoints and reports progress."""
        return self.rank == 0

    def tf_config(self) -> str:
        """The value of TF_CONFIG that MultiWorkerMirroredStrategy reads."""
        return json.dumps(
            {
                "cluster": {"worker": list(self.workers)},
                "task": {"type": "worker", "index": self.rank},
            }
        )


def find_membership(environment: Mapping[str, str]) -> Membership:
    """The membership that the environment describes; ConfigError where it contradicts itself."""
    if "TF_CONFIG" in environment:
        return _from_tf_config(environment["TF_CONFIG"])
    if "JOBSET_NAME" in environment:
        return _from_jobset(environment)
    return Membership(workers=(f"127.0.0.1:{free_port()}",), rank=0)


def _from_tf_config(text: str) -> Membership:
    try:
        value = json.loads(text)
        membership = Membership(workers=value["cluster"]["worker"], rank=value["task"]["index"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(
            f"TF_CONFIG: needs cluster.worker (host:port list) and task.index; {type(error).__name__}: {error}"
        ) from None
    if membership.rank >= len(membership.workers):
        raise ConfigError(
            f"TF_CONFIG: task.index is {membership.rank}, but there are {len(membership.workers)} workers"
        )
    return membership


def _from_jobset(environment: Mapping[str, str]) -> Membership:
    try:
        jobset, job = environment["JOBSET_NAME"], environment["REPLICATED_JOB"]
        rank, count = int(environment["JOB_COMPLETION_INDEX"]), int(environment[ENV_WORKERS])
        index = int(environment.get("JOB_INDEX", "0"))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"the JobSet's environment: {error} is missing or not a number") from None
    if not 0 <= rank < count:
        raise ConfigError(f"JOB_COMPLETION_INDEX is {rank}, but KUBERT_WORKERS is {count}")
    return Membership(
        workers=tuple(f"{jobset}-{job}-{index}-{i}.{jobset}:{PORT}" for i in range(count)),
        rank=rank,
    )


def free_port() -> int:
    """A TCP port on loopback that nothing listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_names(membership: Membership, deadline: float) -> None:
    """Return when every peer's name resolves; PeerNeverCame, naming it, after `deadline` seconds.

    TensorFlow itself would wait without end. A first look-up often fails because a pod's name appears only with its
    address.
    """
    started = time.monotonic()
    for rank, worker in enumerate(membership.workers):
        while not _resolves(_host(worker)):
            if time.monotonic() - started > deadline:
                raise PeerNeverCame(
                    f"worker {rank} ({worker}) did not appear within {deadline:.0f} s: its name does not resolve"
                )
            time.sleep(LOOK_UP_EVERY)


def meet(membership: Membership, deadline: float) -> None:
    """Return when every other worker answers on its port; PeerNeverCame, naming the first that does not, after `deadline` seconds.

    Call it before TensorFlow starts its own server, on the same port: TensorFlow waits for a late peer without end, and no Python thread
    runs meanwhile. A peer that has gone on to start its server answers as well.
    """
    started = time.monotonic()
    own = membership.workers[membership.rank]
    with socket.create_server((_host(own), _port(own)), backlog=len(membership.workers)):
        for rank, worker in enumerate(membership.workers):
            while rank != membership.rank and not _answers(worker):
                if time.monotonic() - started > deadline:
                    raise PeerNeverCame(
                        f"worker {rank} ({worker}) did not appear within {deadline:.0f} s: nothing answers on its port"
                    )
                time.sleep(LOOK_UP_EVERY)


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return False


def _host(worker: str) -> str:
    return worker.rpartition(":")[0]


def _port(worker: str) -> int:
    return int(worker.rpartition(":")[2])


def _answers(worker: str) -> bool:
    try:
        with socket.create_connection((_host(worker), _port(worker)), timeout=2):
            return True
    except OSError:
        return False


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))
