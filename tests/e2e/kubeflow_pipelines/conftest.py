"""A real Kubeflow Pipelines, an experiment of its own, and a small configuration."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.real_kfp.server import SKIP_REASON, KubertCommand, RealServer, find_server
from tests.support.real_kfp.small_run import build_config, new_store_uri


@pytest.fixture(scope="session")
def server(cluster: None) -> RealServer:
    """The server of KUBERT_TEST_KFP; skips the test where there is none."""
    return find_server() or pytest.skip(SKIP_REASON)


@pytest.fixture(scope="session")
def store_uri(server: RealServer) -> str:
    return new_store_uri()


@pytest.fixture(scope="module")
def kubert(server: RealServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubertCommand]:
    """The command, in an experiment of its own; its runs are stopped in the end."""
    experiment = f"kubert-e2e-{secrets.token_hex(4)}"
    command = KubertCommand(server, experiment, tmp_path_factory.mktemp("kubert"))
    yield command
    client = server.connect(experiment)
    if experiment_id := client.find_experiment(experiment):
        for schedule in client.list_schedules(experiment_id):
            client.delete_schedule(schedule.id)
        for run in client.list_runs(experiment_id):
            if not run.has_ended:
                client.terminate_run(run.id)


@pytest.fixture(scope="module")
def jobset_config(store_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with two workers as a JobSet."""
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(yaml.safe_dump(build_config(store_uri, backend="jobset")), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def scored_release(
    server: RealServer, store_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A model in the store, trained on this machine, which scores slowly enough to be disturbed."""
    values = build_config(f"{store_uri}/scored", backend="local")
    values["model"] |= {
        "max_length": 128,
        "num_layers": 2,
        "hidden_size": 128,
        "intermediate_size": 512,
    }
    values["train"] |= {"epochs": 3, "learning_rate": 0.001}
    values["evaluate"] = {"allow_unpredicted_classes": True}
    directory = tmp_path_factory.mktemp("release")
    config = directory / "config.yaml"
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    ended = KubertCommand(server, "unused", directory).run("run", str(config), timeout=900)
    assert ended.returncode == 0, ended.stderr
    return f"{values['export']['model_store']}/{values['export']['model_name']}"
