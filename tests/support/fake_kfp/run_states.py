"""Moves a run of the fake server through states and tasks, as the cluster would."""

from __future__ import annotations

import threading
import time

from tests.support.fake_kfp.documents import NEVER, Object
from tests.support.fake_kfp.server import FakeServer

SUCCEEDED_TASKS = dict.fromkeys(("tokenize", "train", "evaluate", "gate"), "SUCCEEDED")


def make_task(name: str, state: str, seconds: int = 60) -> Object:
    """A task as the API shows it; one that has ended took `seconds`."""
    has_ended = state in ("SUCCEEDED", "FAILED")
    end_time = f"2030-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z"
    return {
        "display_name": name,
        "state": state,
        "start_time": "2030-01-01T00:00:00Z",
        "end_time": end_time if has_ended else NEVER,
    }


def make_workflow(*nodes: tuple[str, str, str], message: str = "", stopped: bool = False) -> Object:
    """The manifest of a run's workflow: of each pod its path below the root, phase and message."""
    made = {
        f"id-{number}": {
            "name": f"kubert-x7k2p.{path}",
            "displayName": path.rpartition(".")[2],
            "type": "Pod",
            "phase": phase,
            "message": text,
            "finishedAt": f"2030-01-01T00:{number:02}:00Z",
        }
        for number, (path, phase, text) in enumerate(nodes)
    }
    return {
        "spec": {"activeDeadlineSeconds": 0} if stopped else {},
        "status": {"message": message, "nodes": made},
    }


def play_states(server: FakeServer, *states: tuple[str, dict[str, str]]) -> threading.Thread:
    """Move the first run through these states and tasks, one after the other, in a thread."""

    def move_run() -> None:
        while not server.state.runs:
            time.sleep(0.05)
        (run,) = server.state.runs.values()
        for state, tasks in states:
            with server.state.lock:
                made = [make_task(name, task_state) for name, task_state in tasks.items()]
                server.state.move_run(run["run_id"], state, made)
            time.sleep(0.3)

    thread = threading.Thread(target=move_run, daemon=True)
    thread.start()
    return thread
