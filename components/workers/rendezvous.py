"""Waits until all workers of a group reach each other; a timeout names the one that is missing.

TensorFlow itself waits for a late peer without end.
"""

from __future__ import annotations

import logging
import socket
import time

from components.errors import KubertError
from components.workers import exit_codes
from components.workers.topology import WorkerTopology

POLL_INTERVAL_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 2.0
_LOGGER = logging.getLogger(__name__)


class RendezvousTimeoutError(KubertError):
    """A peer's name did not resolve, or its port did not answer, before the timeout."""

    exit_code = exit_codes.RENDEZVOUS_TIMEOUT


def wait_for_dns(topology: WorkerTopology, timeout: float) -> None:
    """Return when the names of all workers resolve; RendezvousTimeoutError after `timeout` seconds.

    A first lookup often fails, because a pod's name is published only with its address.
    """
    started = time.monotonic()
    for rank, worker in enumerate(topology.workers):
        while not _is_resolvable(_parse_host(worker)):
            if time.monotonic() - started > timeout:
                raise RendezvousTimeoutError(
                    f"worker {rank} ({worker}) did not appear within {timeout:.0f} s: "
                    "its name does not resolve"
                )
            time.sleep(POLL_INTERVAL_SECONDS)


def wait_for_peers(topology: WorkerTopology, timeout: float) -> None:
    """Return when all other workers answer; RendezvousTimeoutError after `timeout` seconds.

    Call it before TensorFlow starts its own server on the same port: while TensorFlow waits for a
    peer, no Python thread runs. A peer that has already started its server answers as well.
    """
    started = time.monotonic()
    _LOGGER.debug("waiting for %d workers", len(topology.workers))
    own = topology.workers[topology.rank]
    with socket.create_server((_parse_host(own), _parse_port(own)), backlog=len(topology.workers)):
        for rank, worker in enumerate(topology.workers):
            while rank != topology.rank and not _is_answering(worker):
                if time.monotonic() - started > timeout:
                    raise RendezvousTimeoutError(
                        f"worker {rank} ({worker}) did not appear within {timeout:.0f} s: "
                        "nothing answers on its port"
                    )
                time.sleep(POLL_INTERVAL_SECONDS)
    _LOGGER.debug("all workers answer after %.1f s", time.monotonic() - started)


def _is_resolvable(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return False


def _is_answering(worker: str) -> bool:
    address = _parse_host(worker), _parse_port(worker)
    try:
        with socket.create_connection(address, timeout=CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def _parse_host(worker: str) -> str:
    return worker.rpartition(":")[0]


def _parse_port(worker: str) -> int:
    return int(worker.rpartition(":")[2])
