from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.artifacts.artifact import verify_artifact
from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.environment import ENV_GPUS, ENV_PROGRESS
from components.config.schema import EvaluateConfig, ModelConfig, TrainConfig
from components.errors import ConfigError, DataError, ExitCode
from components.step_runtime import default_state_uri, end_time_or_none, parse_section, step_run


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(ENV_PROGRESS, str(path))
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_parse_section_merges_json_and_typed_values() -> None:
    section = parse_section(TrainConfig, '{"precision": "bfloat16"}', epochs=7)
    assert (section.precision, section.epochs, section.batch_size) == ("bfloat16", 7, 32)


@pytest.mark.parametrize(
    ("kind", "text", "values", "message"),
    [
        pytest.param(TrainConfig, "{", {}, "parameter train: not JSON", id="not-json"),
        pytest.param(TrainConfig, "[1]", {}, "must be a JSON object", id="not-an-object"),
        pytest.param(
            TrainConfig,
            '{"epochs": 1}',
            {"epochs": 2},
            "epochs is a parameter of its own",
            id="both-ways",
        ),
        pytest.param(TrainConfig, '{"epocs": 1}', {}, "train.epocs: no such option", id="unknown"),
        pytest.param(
            ModelConfig,
            "{}",
            {"encoder": "bert"},
            "model.encoder: unknown encoder 'bert'",
            id="invalid-typed",
        ),
        pytest.param(
            EvaluateConfig, "{}", {"min_accuracy": float("nan")}, "evaluate.min_accuracy", id="nan"
        ),
    ],
)
def test_parse_section_refuses(kind: type, text: str, values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_section(kind, text, **values)


def test_a_step_that_lacks_its_gpu_ends_before_it_starts(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_GPUS, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SystemExit) as ended, step_run("evaluate"):
        pytest.fail("the step has started")
    assert ended.value.code == ExitCode.HARDWARE
    message = read(events)[-1]["message"]
    assert message.startswith("the step evaluate (cluster.gpu_steps) needs 1 GPU")
    assert "built for CPUs only" in message


def test_a_deleted_artifact_is_reported_with_the_command_that_makes_it_again(
    events: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended, step_run("evaluate"):
        verify_artifact(tmp_path / "shards", "token_shards")
    assert ended.value.code == ExitCode.DATA
    event = read(events)[-1]
    assert event["missing_artifact"] is True
    assert f"{tmp_path}/shards: no manifest.json" in event["message"]
    assert "`kubert submit --no-cache`" in event["message"]


def test_step_run_reports_start_and_end_with_outputs_and_figures(events: Path) -> None:
    with step_run("gate", decision="/x/decision") as figures:
        figures["passed"] = False
    started, finished = read(events)
    assert (started["step"], started["kind"]) == ("gate", "started")
    assert (finished["kind"], finished["outputs"], finished["figures"]) == (
        "finished",
        {"decision": "/x/decision"},
        {"passed": False},
    )
    assert finished["seconds"] >= 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_step_run_turns_a_user_error_into_its_exit_code_without_a_traceback(
    events: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended, step_run("tokenize"):
        raise DataError("news.csv: row 3: no such label")
    assert ended.value.code == 65
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" ERROR components.step_runtime: tokenize: news.csv: row 3: no such label")
    assert read(events)[-1] | {"time": 0} == {
        "time": 0,
        "step": "tokenize",
        "message": "news.csv: row 3: no such label",
        "kind": "error",
        "exit_code": 65,
    }


def test_step_run_keeps_the_traceback_of_a_defect(events: Path) -> None:
    with pytest.raises(ZeroDivisionError), step_run("train"):
        _ = 1 // 0
    assert read(events)[-1]["exit_code"] == 1
    assert read(events)[-1]["message"].startswith("ZeroDivisionError: ")


def test_sigterm_unwinds_the_body(events: Path, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    script = f"""
import time, pathlib
from components.step_runtime import step_run
with step_run("train"):
    try:
        time.sleep(60)
    finally:
        pathlib.Path({str(cleaned)!r}).touch()
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 20
    while not events.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert cleaned.exists()
    assert [event["kind"] for event in read(events)] == ["started"]


REMOTE = "minio://mlpipeline/v2/artifacts/kubert/0f9c/train/71aa/checkpoint"


@pytest.mark.parametrize(
    ("options", "uri", "expected"),
    [
        pytest.param({"checkpoint_uri": "gs://b/state"}, REMOTE, "gs://b/state", id="configured"),
        pytest.param({"checkpoint_pvc": "shared"}, REMOTE, STATE_MOUNT, id="volume"),
        pytest.param(
            {}, REMOTE, "minio://mlpipeline/v2/artifacts/kubert/state", id="beside-the-runs"
        ),
        pytest.param(
            {}, "/home/me/kubert/artifacts/x/checkpoint", "/made/checkpoint-state", id="one-machine"
        ),
        pytest.param(
            {}, "gs://bucket/elsewhere/checkpoint", "/made/checkpoint-state", id="not-our-pipeline"
        ),
    ],
)
def test_all_runs_share_one_training_state(options: dict, uri: str, expected: str) -> None:
    assert default_state_uri(ClusterConfig(**options), Path("/made/checkpoint"), uri) == expected


@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param("2026-11-24T03:00:00Z", "2026-11-24T03:00:00Z", id="slot"),
        pytest.param("", None, id="none"),
        pytest.param(
            "{{$.pipeline_job_schedule_time_utc}}", None, id="server-that-does-not-know-it"
        ),
    ],
)
def test_the_scheduled_time_is_the_end_time_of_the_data(given: str, found: str | None) -> None:
    """Fault R1."""
    assert end_time_or_none(given) == found
