"""`kubert submit --folds`: what is sent, what is shown of the folds, how it ends."""

from __future__ import annotations

import json

from pipeline.cross_validation.task_names import list_fold_tasks
from tests.support.fake_kfp.clients import InvokeCommand, set_arguments
from tests.support.fake_kfp.run_states import play_states
from tests.support.fake_kfp.server import FakeServer


def test_folds_are_followed_and_a_failed_one_is_named(
    server: FakeServer, kubert: InvokeCommand, fast_polling: None
) -> None:
    tasks = dict.fromkeys(list_fold_tasks(2), "SUCCEEDED")
    del tasks["summarize"]
    play_states(
        server,
        ("RUNNING", {"tokenize": "SUCCEEDED", "fold-1": "RUNNING", "fold-2": "RUNNING"}),
        ("FAILED", {**tasks, "train-fold-2": "FAILED"}),
    )
    at = ("--endpoint", server.url)
    code, out, _ = kubert("submit", *set_arguments(), *at, "--folds", "2", "--wait")
    (run,) = server.state.runs.values()
    assert code == 1
    assert "\nfold 1  train        60.0 s" in out
    assert "\nfold 2  evaluate     60.0 s" in out
    assert out.splitlines()[-1].startswith("failed: train-fold-2: failed; its pod's log")
    assert run["display_name"].startswith("news-folds-")
    parameters = run["runtime_config"]["parameters"]
    assert parameters["folds"] == 2
    assert json.loads(parameters["tokenize"]) == {"keep_texts": True}
    assert "model_store" not in parameters
    shown = json.loads(kubert("runs", "show", run["run_id"], *at, "--json")[1])
    assert [step["step"] for step in shown["steps"]] == list_fold_tasks(2)
    assert shown["failed_rules"] == []


def test_a_finished_cross_validation_is_no_closed_gate(
    server: FakeServer, kubert: InvokeCommand, fast_polling: None
) -> None:
    play_states(server, ("SUCCEEDED", dict.fromkeys(list_fold_tasks(2), "SUCCEEDED")))
    at = ("--endpoint", server.url)
    code, out, _ = kubert("submit", *set_arguments(), *at, "--folds", "2", "--wait", "--json")
    assert code == 0
    assert json.loads(out)["verdict"] == "cross-validated; nothing released"
