"""Submitting hostile values, forbidden URIs, moving images and secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import ConfigError
from pipeline.kubeflow import submit
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.submission import prepare_submission
from tests.support.fake_kfp.clients import (
    build_config,
    build_submission,
    run_command,
    set_arguments,
)
from tests.support.fake_kfp.server import FakeServer


def list_runs(server: FakeServer) -> list[dict[str, Any]]:
    return list(server.state.runs.values())


@pytest.mark.parametrize(
    "value",
    [
        '"; rm -rf / #',
        "$(reboot)",
        "!!python/object:os.system",
        "a\nb: c",
        "--flag",
        "' OR 1=1",
        "%7B%7B",
        "é‮",
    ],
)
def test_values_reach_the_run_unchanged(
    server: FakeServer, client: KubeflowClient, tmp_path: Path, value: str
) -> None:
    """Fault A4."""
    made = build_submission(tmp_path, data={"label": value, "text": [value]})
    submit.submit_run(client, made, None)
    (run,) = list_runs(server)
    assert json.loads(run["runtime_config"]["parameters"]["data"]) == {
        "label": value,
        "text": [value],
    }


@pytest.mark.parametrize(
    "value",
    [
        "gs://bucket/[[RunUUID]].csv",
        "gs://bucket/{{workflow.name}}.csv",
        "gs://bucket/{{$.pipeline_job_name}}",
    ],
)
def test_placeholders_are_refused(value: str) -> None:
    """Fault A4."""
    with (
        pytest.raises(ConfigError, match="placeholder"),
        prepare_submission(build_config(data={"source": value})),
    ):
        pass


@pytest.mark.parametrize(
    ("section", "option", "uri"),
    [
        ("data", "source", "train.csv"),
        ("data", "source", "file:///etc/passwd"),
        ("data", "source", "http://169.254.169.254/latest/meta-data"),
        ("data", "source", "gs://169.254.169.254/x.csv"),
        ("data", "source", "s3://metadata.google.internal/x.csv"),
        ("data", "source", "s3://user:secret@bucket/x.csv"),
        ("data", "source", "gs://bucket/../other/x.csv"),
        ("data", "test_source", "/data/test.csv"),
        ("data", "tfds_data_dir", "/data/tfds"),
        ("model", "encoder", "hf:/models/bert"),
        ("export", "model_store", "models"),
        ("export", "model_store", "ftp://host/models"),
        ("export", "model_store", "gs://b@d/models"),
        ("cluster", "pipeline_root", "gs://bucket/../root"),
        ("cluster", "state", "s3://localhost/state"),
    ],
)
def test_uris_that_pods_cannot_or_must_not_read_are_refused(
    section: str, option: str, uri: str
) -> None:
    """Fault A5."""
    with (
        pytest.raises(ConfigError, match=rf"{section}\.{option}") as caught,
        prepare_submission(build_config(**{section: {option: uri}})),
    ):
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("option", ["train_image", "step_image", "tools_image"])
def test_an_image_without_a_digest_is_refused(option: str) -> None:
    """Fault A8."""
    moving = build_config(cluster={option: "images.example/train:1.0"})
    with (
        pytest.raises(
            ConfigError, match=rf"cluster\.{option}=images.example/train:1.0: has no digest"
        ),
        prepare_submission(moving),
    ):
        pass
    with prepare_submission(moving, allow_tags=True) as submitted:
        assert (
            "images.example/train:1.0" in json.loads(str(submitted.arguments["cluster"])).values()
        )


def test_the_tag_latest_is_always_refused() -> None:
    """Fault A8."""
    with (
        pytest.raises(ConfigError, match="names no fixed version"),
        prepare_submission(
            build_config(cluster={"train_image": "x/train:latest"}), allow_tags=True
        ),
    ):
        pass


@pytest.mark.slow
def test_a_token_appears_only_in_its_header(
    server: FakeServer,
) -> None:
    """Fault A6."""
    server.token = "canary-right"
    wrong = run_command(
        "submit", *set_arguments(), "--endpoint", server.url, KUBERT_TOKEN="canary-wrong"
    )
    assert wrong.returncode == 2
    assert "canary" not in wrong.stdout + wrong.stderr
    right = run_command(
        "submit", *set_arguments(), "--endpoint", server.url, "--json", KUBERT_TOKEN="canary-right"
    )
    assert right.returncode == 0
    assert "canary" not in right.stdout + right.stderr + json.dumps(list_runs(server))
