"""The lock on a target in object storage."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from components.batch_prediction.target import HEARTBEAT_NAME, Target, lock_target
from components.config.environment import ENV_RUN
from components.errors import KubertError
from components.storage.store import open_store
from components.workers.launcher_heartbeat import LauncherHeartbeat
from tests.support.stores.object_stores import new_remote_location

INTERVAL = 0.05


@pytest.fixture
def target(server_address: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Target:
    return Target(f"{new_remote_location('s3', server_address('s3'), monkeypatch).uri}/out")


def test_a_live_scorer_of_another_run_keeps_others_out(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_RUN, "first")
    with LauncherHeartbeat(open_store(target.state), HEARTBEAT_NAME, INTERVAL):
        monkeypatch.setenv(ENV_RUN, "second")
        with pytest.raises(KubertError, match="another `kubert score`"), lock_target(target):
            pass


def test_an_attempt_does_not_wait_for_the_one_of_its_run_that_has_died(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_RUN, "first")
    store, key = open_store(target.state), f"launchers/{HEARTBEAT_NAME}"
    with LauncherHeartbeat(store, HEARTBEAT_NAME, INTERVAL):
        left_behind = store.read_bytes(key)
    store.write(key, left_behind)
    start = time.monotonic()
    with lock_target(target):
        assert time.monotonic() - start < 5
