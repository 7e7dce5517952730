"""`kubert submit` and the server's cache: artifacts that were deleted, and other pipeline roots."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

import pytest

from components.progress import ProgressEvent, StepName
from tests.support.fake_kfp.clients import InvokeCommand, set_arguments
from tests.support.fake_kfp.run_states import SUCCEEDED_TASKS, make_task
from tests.support.fake_kfp.server import FakeServer

GONE = ProgressEvent(
    StepName.EVALUATE,
    "no manifest.json",
    "error",
    exit_code=65,
    metrics={"missing_artifact": True},
)


class _PodsOfFirstRun:
    """Stands for the pods of the first run, whose evaluation finds no shards."""

    fatal_lines: ClassVar[dict[str, str]] = {}
    graph_failure = ""

    def __init__(self, is_first: bool) -> None:
        self._events = [GONE] if is_first else []

    def read_new_events(self, first_step: StepName) -> list[ProgressEvent]:
        found, self._events = self._events, []
        return found

    def is_deleted(self) -> bool:
        return False


def play_a_deleted_artifact(server: FakeServer) -> None:
    """The first run reuses two steps and fails at the third one; a second one succeeds."""
    cached = [make_task(name, "SUCCEEDED", seconds=0) for name in ("tokenize", "train")]
    failed = [*cached, make_task("evaluate", "FAILED")]
    made = [make_task(name, "SUCCEEDED") for name in (*SUCCEEDED_TASKS, "export")]

    def move_runs() -> None:
        for number, (state, tasks) in enumerate((("FAILED", failed), ("SUCCEEDED", made))):
            while len(server.state.runs) <= number:
                time.sleep(0.05)
            with server.state.lock:
                server.state.move_run(list(server.state.runs)[number], state, tasks)

    threading.Thread(target=move_runs, daemon=True).start()


@pytest.fixture
def pods_of_first_run(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pipeline.cli.connection.find_run_pods",
        lambda api, cluster, run: _PodsOfFirstRun(run == next(iter(server.state.runs))),
    )


def test_a_run_that_meets_a_deleted_artifact_is_made_again_without_the_cache(
    server: FakeServer, kubert: InvokeCommand, fast_polling: None, pods_of_first_run: None
) -> None:
    play_a_deleted_artifact(server)
    code, out, _ = kubert("submit", *set_arguments(), "--endpoint", server.url, "--wait")
    first, second = server.state.runs.values()
    assert code == 0
    assert "the artifact of a reused step is gone: all steps run again" in out
    assert not first["runtime_config"]["parameters"].get("fingerprint")
    healed = second["runtime_config"]["parameters"]["fingerprint"]
    assert healed
    # What was made again is used from now on, and not what is gone.
    assert kubert("submit", *set_arguments(), "--endpoint", server.url)[0] == 0
    third = list(server.state.runs.values())[2]
    assert third["runtime_config"]["parameters"]["fingerprint"] == healed
    assert kubert("submit", *set_arguments("train.epochs=9"), "--endpoint", server.url)[0] == 0
    other = list(server.state.runs.values())[3]
    assert not other["runtime_config"]["parameters"].get("fingerprint")


def test_a_key_is_one_run_also_if_an_artifact_is_gone(
    server: FakeServer, kubert: InvokeCommand, fast_polling: None, pods_of_first_run: None
) -> None:
    play_a_deleted_artifact(server)
    arguments = [*set_arguments(), "--endpoint", server.url, "--wait", "--key", "k"]
    code, out, _ = kubert("submit", *arguments)
    assert (code, len(server.state.runs)) == (2, 1)
    assert out.splitlines()[-1] == "failed: evaluate: no manifest.json"


def test_runs_with_different_roots_never_share_cached_steps(
    server: FakeServer, kubert: InvokeCommand
) -> None:
    roots = ("gs://one/root", "gs://two/root", "gs://one/root")
    for root in roots:
        options = set_arguments(f"cluster.pipeline_root={root}")
        assert kubert("submit", *options, "--endpoint", server.url)[0] == 0
    used = [
        run["runtime_config"]["parameters"]["fingerprint"] for run in server.state.runs.values()
    ]
    assert used[0] == used[2] != used[1]
