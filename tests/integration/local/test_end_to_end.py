"""The pipeline on the built-in sample by `kubert run`: real steps, real KFP, a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from components import registry
from components.artifacts import release
from components.config.environment import ENV_PROGRESS
from components.storage.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TINY = [
    "model.encoder=scratch",
    "model.max_length=32",
    "model.hidden_size=16",
    "model.intermediate_size=16",
    "model.vocab_size=1000",
    "train.epochs=3",
    "train.learning_rate=0.01",
    "evaluate.min_accuracy=0",
    "evaluate.allow_unpredicted_classes=true",
]


def command(workdir: Path, *assignments: str) -> list[str]:
    given = [part for assignment in (*TINY, *assignments) for part in ("--set", assignment)]
    return [
        sys.executable,
        "-m",
        "pipeline.cli",
        "run",
        "--json",
        "--workdir",
        str(workdir),
        *given,
    ]


def kubert(workdir: Path, *assignments: str, code: int = 0, **environment: str) -> dict[str, Any]:
    ended = subprocess.run(
        command(workdir, *assignments),
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert "\x1b" not in ended.stderr + ended.stdout
    (line,) = ended.stdout.splitlines()
    result: dict[str, Any] = json.loads(line)
    return result


def half_made(workdir: Path) -> list[Path]:
    return list((workdir / "artifacts").glob("*/*/.*"))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a work directory") / "kubert"


@pytest.fixture(scope="module")
def first(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("path")
    (path / "docker").mkdir()  # must not be taken for the package `docker`
    return kubert(workdir, PYTHONPATH=str(path))


def test_the_first_run_releases_version_1(first: dict[str, Any], workdir: Path) -> None:
    assert set(first["step_seconds"]) == {"tokenize", "train", "evaluate", "gate", "export"}
    assert all(seconds > 0 for seconds in first["step_seconds"].values())
    assert first["cached"] == []
    assert first["gate"]["passed"] is True and first["gate"]["reason"]
    assert 0 < first["accuracy_low"] <= first["accuracy"] <= first["accuracy_high"] < 1
    assert first["test_rows"] == first["rows"]["test"] > 100
    assert sum(first["rows"].values()) == 800
    assert first["train_examples_per_second"] > 0
    assert (first["version"], first["release"]) == (1, str(workdir / "models" / "news" / "1"))
    assert release.open_release(Path(first["release"])).manifest.kind == "release"
    assert (
        Path(first["report"])
        .read_text(encoding="utf-8")
        .lstrip()
        .lower()
        .startswith("<!doctype html")
    )
    assert "Running pipeline" in Path(first["log"]).read_text(encoding="utf-8")
    assert half_made(workdir) == []


def test_the_release_answers_every_line_that_is_not_blank(first: dict[str, Any]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "predict", "--json", first["release"], "-"],
        input="one\n\nthree\n",
        capture_output=True,
        text=True,
    )
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == ["one", "three"]
    assert all(
        abs(sum(answer["scores"].values()) - 1) < 1e-5 and answer["label"] in answer["scores"]
        for answer in answers
    )


def test_a_second_run_reuses_everything_and_releases_nothing_new(
    first: dict[str, Any], workdir: Path
) -> None:
    second = kubert(workdir)
    assert second["cached"] == ["tokenize", "train", "evaluate"]
    assert (second["accuracy"], second["version"]) == (first["accuracy"], 1)


def test_a_damaged_checkpoint_is_not_reused(first: dict[str, Any], workdir: Path) -> None:
    """Fault S7."""
    (weights,) = (workdir / "artifacts").glob("*/train/checkpoint/weights/model.data-*")
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    again = kubert(workdir)
    assert again["cached"] == ["tokenize"]
    assert (again["accuracy"], again["version"]) == (first["accuracy"], 1)
    assert "cached outputs are not reused: " in Path(again["log"]).read_text(encoding="utf-8")


def test_a_closed_gate_exits_with_3_and_releases_nothing(
    first: dict[str, Any], workdir: Path
) -> None:
    """Fault T3."""
    minimum = 'evaluate.minimum={"recall[World]": 0, "f1[Sports]": 1, macro_f1: 1}'
    closed = kubert(workdir, "evaluate.min_accuracy=0.999", minimum, code=3)
    assert closed["gate"]["passed"] is False
    assert "0.999" in closed["gate"]["reason"]
    assert closed["gate"]["failed_rules"] == ["min_accuracy", "f1[Sports]", "macro_f1"]
    assert (closed["release"], closed["version"]) == (None, None)
    assert "export" not in closed["step_seconds"]
    assert registry.list_versions(open_store(str(workdir / "models")), "news") == [1]


def test_a_mistake_in_the_data_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    source = tmp_path / "news.csv"
    source.write_text("title,description,label\n" + "a b,c d,x\ng h,i,y\n" * 25 + "e,f,\n")
    ended = subprocess.run(
        command(tmp_path / "work", f"data.source={source}"), capture_output=True, text=True
    )
    assert ended.returncode == 2, ended.stderr
    assert "kubert: 1 rows rejected" in ended.stderr and str(source) in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert half_made(tmp_path / "work") == []


def wait_for(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 180
    while not found():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_an_interrupted_training_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    workdir = tmp_path / "work"
    process = subprocess.Popen(
        command(workdir, "train.epochs=15"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def events() -> str:
        return "".join(path.read_text() for path in workdir.glob("runs/*/events.jsonl"))

    wait_for(lambda: '"seconds_left"' in events())
    (file,) = workdir.glob("runs/*/events.jsonl")
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 130, shown
    assert "continues from there" in shown and "Traceback" not in shown
    assert [
        p.pid
        for p in psutil.process_iter(["environ"])
        if (p.info["environ"] or {}).get(ENV_PROGRESS) == str(file)
    ] == []
    assert half_made(workdir) == []
    result = kubert(workdir, "train.epochs=15")
    assert result["cached"] == ["tokenize"]
    assert "going on from step" in Path(result["log"]).with_name("events.jsonl").read_text()
