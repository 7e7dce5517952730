"""Faults of workers on a real cluster: the outcome, how long it takes, and the messages."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import checkpoint, transfer
from components.errors import ConfigError, DataError, ExitCode
from components.storage.store import open_store
from tests.support.training import cluster_training, local_training, training_shards
from tests.support.training.cluster_training import ClusterTraining

pytestmark = [pytest.mark.timeout(900)]
LONG: dict[str, Any] = {"train__epochs": 60}
STEPS = 60 * 24
SCREEN = 40


@pytest.fixture(scope="module")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket's part with sealed shards below `shards`."""
    uri = cluster_training.new_store_uri()
    made = training_shards.make(
        tmp_path_factory.mktemp("data") / "shards", rows={"train": 192, "validation": 20}
    )
    transfer.upload_artifact(made, f"{uri}/shards")
    return uri


@pytest.fixture(scope="module")
def undisturbed_run(store_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed_run")
    cluster_training.train(home, f"{store_uri}/shards", f"{store_uri}/undisturbed", LONG)
    return home


def kill(it: ClusterTraining, rank: int) -> None:
    process = cluster_training.find_worker_process(it.jobset()["metadata"]["name"], rank)
    if process is None:
        pytest.skip("no worker's process here: the cluster's node is another machine")
    process.kill()


def evict(it: ClusterTraining, rank: int) -> None:
    cluster_training.evict(
        cluster_training.pods(it.jobset()["metadata"]["name"])[rank]["metadata"]["name"]
    )


@pytest.mark.parametrize(
    ("harm", "rank", "expected", "lost"),
    [
        pytest.param(
            kill, 1, "restart 1 of 3: worker 1 was killed (SIGKILL)", True, id="kill_a_worker"
        ),
        pytest.param(
            kill, 0, "restart 1 of 3: worker 0 was killed (SIGKILL)", True, id="kill_the_chief"
        ),
        pytest.param(evict, 1, "; restarting all workers", False, id="evict_a_worker"),
        pytest.param(evict, 0, "; restarting all workers", False, id="evict_the_chief"),
    ],
)
def test_a_disturbed_worker_group_ends_with_the_weights_of_an_undisturbed_one(
    harm: Callable[[ClusterTraining, int], None],
    rank: int,
    expected: str,
    lost: bool,
    store_uri: str,
    undisturbed_run: Path,
    tmp_path: Path,
) -> None:
    """Faults W1, W2 and W3."""
    with cluster_training.launch(
        tmp_path, f"{store_uri}/shards", f"{store_uri}/{uuid.uuid4().hex[:8]}", LONG
    ) as it:
        it.wait_for_progress(150)
        reached = max(event.get("done") or 0 for event in it.events() if event.get("total"))
        harmed = time.time()
        harm(it, rank)
        ended = it.wait()
        assert ended.code == 0, ended.output
        messages, events = it.messages(), it.events()
    print("\n".join(text for text in messages if not text.startswith("epoch")))
    assert [text for text in messages if expected in text], messages
    (resumed,) = [
        int(text.split()[4]) for text in messages if text.startswith("going on from step")
    ]
    assert resumed >= (
        reached - cluster_training.SMALL["train__checkpoint_every_steps"] if lost else reached
    )
    back = next(
        event["time"]
        for event in events
        if (event.get("done") or 0) > resumed and event["time"] > harmed + 5
    )
    print(f"training again {back - harmed:.1f} s after the harm, from step {resumed}")
    found, wanted = (
        checkpoint.open_checkpoint(home / "checkpoint").content
        for home in (tmp_path, undisturbed_run)
    )
    assert len(found.step_losses) == STEPS
    print(
        "largest difference of a step's loss:",
        np.abs(np.subtract(found.step_losses, wanted.step_losses)).max(),
    )
    np.testing.assert_allclose(found.step_losses, wanted.step_losses, rtol=1e-6, atol=1e-6)
    weights = local_training.weights(undisturbed_run / "checkpoint")
    for name, value in local_training.weights(tmp_path / "checkpoint").items():
        np.testing.assert_allclose(value, weights[name], atol=1e-5, err_msg=name)


def run_to_failure(
    store_uri: str, home: Path, options: dict[str, Any], *, shards: str = ""
) -> tuple[local_training.Ended, list[str], float]:
    """Run a launcher that must fail; how it ended, its messages, and the seconds it took."""
    started = time.monotonic()
    with cluster_training.launch(
        home, shards or f"{store_uri}/shards", f"{store_uri}/{uuid.uuid4().hex[:8]}", options
    ) as it:
        ended = it.wait()
        seconds = time.monotonic() - started
        print(f"{seconds:.1f} s, exit code {ended.code}\n{ended.output}")
        assert ended.code != 0
        assert len(ended.output.splitlines()) <= SCREEN
        assert "Traceback" not in ended.output
        left = cluster_training.jobsets(it.run)
        if left and not left[0]["status"].get("terminalState"):
            local_training.wait_for(
                lambda: not cluster_training.jobsets(it.run), "the JobSet's end"
            )
        return ended, it.messages(), seconds


def test_shards_damaged_in_the_store_are_the_user_s_error_and_never_retried(
    store_uri: str, tmp_path: Path
) -> None:
    """Fault D1."""
    made = training_shards.make(tmp_path / "shards", rows={"train": 192, "validation": 20})
    transfer.upload_artifact(made, f"{store_uri}/damaged")
    name = next(path.name for path in made.glob("train-*.arrow"))
    data = bytearray((made / name).read_bytes())
    data[len(data) // 2] ^= 1
    open_store(f"{store_uri}/damaged").write(name, bytes(data))
    ended, messages, _ = run_to_failure(
        store_uri, tmp_path, {"train__seed": 9}, shards=f"{store_uri}/damaged"
    )
    assert ended.code == DataError.exit_code == 65
    assert name in ended.output
    assert "SHA-256" in ended.output
    assert not [text for text in messages if text.startswith("restart")]


def test_out_of_memory_is_reported_and_not_retried(store_uri: str, tmp_path: Path) -> None:
    """Fault W10."""
    ended, messages, _ = run_to_failure(store_uri, tmp_path, {"cluster__memory": "300Mi"})
    assert "was killed for lack of memory (OOMKilled)" in ended.output
    assert "raise cluster.memory" in ended.output
    assert len([text for text in messages if text.startswith("restart")]) <= 1


@pytest.mark.parametrize(
    ("options", "within", "named"),
    [
        pytest.param(
            {"cluster__cpu": "7", "train__workers": 1, "cluster__pod_start_timeout": 15},
            45,
            ["Insufficient cpu", "lower cluster.cpu", "cluster.pod_start_timeout"],
            id="no node is large enough",
        ),
        pytest.param(
            {"cluster__node_selector": {"none": "such"}, "cluster__pod_start_timeout": 15},
            45,
            ["affinity/selector", "cluster.node_selector"],
            id="no node has the label",
        ),
        pytest.param(
            {"cluster__train_image": "No Image!"},
            30,
            ["InvalidImageName", "cluster.train_image is not"],
            id="not an image's name",
        ),
        pytest.param(
            {
                "cluster__train_image": "localhost/none-such:1",
                "cluster__image_pull_policy": "Never",
            },
            30,
            ["ErrImageNeverPull", "load it there"],
            id="image not on the node",
        ),
        pytest.param(
            {"cluster__train_image": "localhost:1/none-such:1", "cluster__pod_start_timeout": 20},
            60,
            ["Pull", "cluster.image_pull_secrets"],
            id="image cannot be pulled",
        ),
        pytest.param(
            {"cluster__priority_class": "none-such"},
            30,
            ["no PriorityClass", "cluster.priority_class"],
            id="no such priority class",
        ),
        pytest.param(
            {"cluster__worker_service_account": "none-such"},
            30,
            ["none-such", "cluster.worker_service_account"],
            id="no such account",
        ),
        pytest.param(
            {"cluster__storage_secret": "none-such", "cluster__pod_start_timeout": 20},
            60,
            ["none-such", "cluster.storage_secret"],
            id="no such secret",
        ),
    ],
)
def test_a_worker_group_that_cannot_start_is_explained_in_time(
    options: dict[str, Any], within: float, named: list[str], store_uri: str, tmp_path: Path
) -> None:
    """Fault W6."""
    ended, _, seconds = run_to_failure(store_uri, tmp_path, options)
    assert ended.code == ExitCode.WORKERS_FAILED
    for text in named:
        assert text in ended.output
    assert seconds < within


def test_a_crash_loop_is_bounded_and_shows_the_worker_s_last_lines(
    store_uri: str, tmp_path: Path
) -> None:
    # Where Python looks for its own library there is none: each attempt ends at once.
    """Fault W7."""
    options = {
        "train__max_restarts": 1,
        "train__workers": 1,
        "cluster__environment": {"PYTHONHOME": "/none"},
    }
    ended, messages, _ = run_to_failure(store_uri, tmp_path, options)
    assert ended.code == ExitCode.WORKERS_FAILED
    assert "the train step failed after 1 restarts (train.max_restarts=1): worker 0" in ended.output
    assert "last lines of worker 0:" in ended.output
    assert "No module named 'encodings'" in ended.output
    assert [
        text
        for text in messages
        if text.startswith("restart 1 of 1: worker 0 failed with exit code 1")
    ]


def test_the_time_limit_ends_a_worker_group(store_uri: str, tmp_path: Path) -> None:
    ended, _, seconds = run_to_failure(
        store_uri, tmp_path, {"train__epochs": 10_000, "cluster__active_deadline": 60}
    )
    assert "the workers still ran after cluster.active_deadline (60 s)" in ended.output
    assert seconds < 100


def test_rights_that_are_missing_are_named(store_uri: str, tmp_path: Path) -> None:
    """Fault S2."""
    ended, _, _ = run_to_failure(store_uri, tmp_path, {"cluster__namespace": "none-such"})
    assert ended.code == ConfigError.exit_code
    assert "none-such" in ended.output
