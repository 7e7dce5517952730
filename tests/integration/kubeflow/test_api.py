"""Submitted runs in the Python API, against the fake Kubeflow Pipelines server."""

from __future__ import annotations

import pytest

import kubert
from components.progress import ProgressEvent
from pipeline.kubeflow.errors import NotFoundError
from tests.support.fake_kfp.clients import IMAGES
from tests.support.fake_kfp.run_states import SUCCEEDED_TASKS, make_task
from tests.support.fake_kfp.server import FakeServer


@pytest.fixture
def options(server: FakeServer) -> dict[str, object]:
    return {
        "cluster.train_image": IMAGES["train_image"],
        "cluster.tools_image": IMAGES["tools_image"],
        "export.model_store": "gs://models/x",
        "cluster.endpoint": server.url,
    }


def test_a_run_is_submitted_once_per_key_and_followed_to_its_end(
    server: FakeServer, options: dict[str, object], fast_polling: None
) -> None:
    run = kubert.submit(options=options, key="nightly")
    again = kubert.submit(options=options, key="nightly")
    assert (run.id, run.created, again.created) == (again.id, True, False)
    assert run.name == "nightly"
    assert run.status().run.state == "PENDING"
    made = [make_task(name, "SUCCEEDED") for name in (*SUCCEEDED_TASKS, "export")]
    with server.state.lock:
        server.state.move_run(run.id, "SUCCEEDED", made)
    events: list[ProgressEvent] = []
    ended = run.wait(events.append)
    assert (ended.exit_code, ended.verdict) == (0, "released")
    assert {event.step for event in events if event.kind == "finished"} == {
        "tokenize", "train", "evaluate", "gate", "export",
    }  # fmt: skip
    run.stop()  # nothing happens to a run that has ended
    assert run.status().run.state == "SUCCEEDED"


def test_a_run_is_found_by_its_name_and_stopped(
    server: FakeServer, options: dict[str, object]
) -> None:
    submitted = kubert.submit(options=options, key="one")
    run = kubert.find_run("one", options=options)
    assert (run.id, run.created) == (submitted.id, False)
    with pytest.raises(kubert.WorkersNotStoppedError, match="end by themselves within a minute"):
        run.stop()  # there is no Kubernetes here
    assert run.status().was_stopped
    with pytest.raises(kubert.KubertError):
        run.logs()
    with pytest.raises(NotFoundError, match="no run has the id or the name two"):
        kubert.find_run("two", options=options)


def test_nothing_is_sent_for_a_mistake(server: FakeServer, options: dict[str, object]) -> None:
    with pytest.raises(kubert.UsageError, match="--key"):
        kubert.submit(options=options, key="a b")
    with pytest.raises(kubert.ConfigError):
        kubert.submit(options={**options, "train.epochs": 0})
    assert not server.state.runs
