from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from components.errors import ConfigError
from components.workers import exit_codes
from components.workers.rendezvous import RendezvousTimeoutError, wait_for_dns, wait_for_peers
from components.workers.topology import WorkerTopology, find_free_port, topology_from_environment

JOBSET = {
    "JOBSET_NAME": "news-7",
    "REPLICATED_JOB": "worker",
    "JOB_INDEX": "0",
    "JOB_COMPLETION_INDEX": "1",
    "KUBERT_WORKERS": "3",
}


def tf_config(**changes: Any) -> dict[str, str]:
    return {
        "TF_CONFIG": json.dumps(
            {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
            | changes
        )
    }


def test_tf_config_is_what_counts_first() -> None:
    assert topology_from_environment(JOBSET | tf_config()) == WorkerTopology(
        workers=("a:1", "b:2"), rank=1
    )


def test_a_jobset_names_its_workers_by_rank() -> None:
    member = topology_from_environment(JOBSET)
    assert member.workers == (
        "news-7-worker-0-0.news-7:2222",
        "news-7-worker-0-1.news-7:2222",
        "news-7-worker-0-2.news-7:2222",
    )
    assert (member.rank, member.is_chief) == (1, False)


def test_a_process_of_its_own_is_the_chief_of_one() -> None:
    member = topology_from_environment({})
    assert (len(member.workers), member.rank, member.is_chief) == (1, 0, True)


def test_tf_config_describes_the_same_topology() -> None:
    member = WorkerTopology(workers=("a:1", "b:2"), rank=1)
    assert topology_from_environment({"TF_CONFIG": member.to_tf_config()}) == member
    assert json.loads(member.to_tf_config())["task"] == {"type": "worker", "index": 1}


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TF_CONFIG": "{"}, "TF_CONFIG"),
        ({"TF_CONFIG": "[]"}, "TF_CONFIG"),
        (tf_config(cluster={}), "cluster.worker"),
        (tf_config(cluster={"worker": []}), "cluster.worker"),
        (tf_config(task={"index": -1}), "task.index"),
        (tf_config(task={"index": 2}), "task.index is 2"),
        (
            {name: value for name, value in JOBSET.items() if name != "KUBERT_WORKERS"},
            "KUBERT_WORKERS",
        ),
        (JOBSET | {"JOB_COMPLETION_INDEX": "one"}, "one"),
        (JOBSET | {"JOB_COMPLETION_INDEX": "3"}, "JOB_COMPLETION_INDEX is 3"),
    ],
    ids=[
        "not JSON",
        "not an object",
        "no workers",
        "empty",
        "negative",
        "beyond",
        "JobSet count missing",
        "JobSet rank text",
        "JobSet beyond",
    ],
)
def test_a_contradictory_environment_is_refused(environment: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        topology_from_environment(environment)


def test_a_name_that_never_resolves_is_named_before_the_deadline() -> None:
    """Fault W6."""
    member = WorkerTopology(workers=("127.0.0.1:1", "no-such-peer.invalid:2222"), rank=0)
    started = time.monotonic()
    with pytest.raises(
        RendezvousTimeoutError, match=r"worker 1 \(no-such-peer\.invalid:2222\).*does not resolve"
    ) as caught:
        wait_for_dns(member, timeout=1.0)
    assert time.monotonic() - started < 20
    assert caught.value.exit_code == exit_codes.RENDEZVOUS_TIMEOUT == 69


def test_a_port_that_never_answers_is_named() -> None:
    """Fault W6."""
    member = WorkerTopology(
        workers=(f"127.0.0.1:{find_free_port()}", f"127.0.0.1:{find_free_port()}"), rank=0
    )
    with pytest.raises(RendezvousTimeoutError, match=r"worker 1 .*nothing answers"):
        wait_for_peers(member, timeout=0.6)


def test_a_late_peer_is_waited_for() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        member = WorkerTopology(
            workers=(f"127.0.0.1:{find_free_port()}", f"127.0.0.1:{listener.getsockname()[1]}"),
            rank=0,
        )
        with pytest.raises(RendezvousTimeoutError):
            wait_for_peers(member, timeout=0.1)
        listener.listen()
        wait_for_dns(member, timeout=5)
        wait_for_peers(member, timeout=5)


def test_one_s_own_port_is_not_asked() -> None:
    wait_for_peers(WorkerTopology(workers=(f"127.0.0.1:{find_free_port()}",), rank=0), timeout=0.1)
