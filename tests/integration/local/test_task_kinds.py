"""Several labels and numbers, from a source to the served model, with a model that learns them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.release import open_release
from components.artifacts.report import open_report
from components.config.loading import validate_config
from components.config.schema import Config
from components.evaluate import step as evaluate
from components.export import step as export
from components.gate import step as gate
from components.tokenize_text import step as tokenize_text
from components.train import step as train
from pipeline.cli.main import app

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROWS = 240
SIZES = {"max_length": 16, "hidden_size": 16, "intermediate_size": 16, "vocab_size": 300}
KINDS: dict[str, dict[str, Any]] = {
    "multi_label": {
        "task": {"kind": "multi_label", "separator": "|"},
        "data": {"text_pair": ["topics", "ending"], "label": "tags"},
    },
    "regression": {"task": {"kind": "regression"}, "data": {"text": "words", "label": "number"}},
}
TEXTS = {
    "multi_label": (["red blue", "end 1"], ["row", "end 1"]),
    "regression": (["red blue green"], ["nothing"]),
}

COMMANDS: dict[str, dict[str, Any]] = {
    "one column for each label": {
        "task": {"kind": "multi_label"},
        "data": {"text": "words", "label": ["red", "blue", "green"]},
        "train": {"best_metric": "micro_f1"},
        "evaluate": {
            "minimum": {"micro_f1": 0.5, "subset_accuracy": 0.05, "recall[red]": 0.1},
            "allow_unpredicted_classes": True,
        },
    },
    "numbers with limits": {
        "task": {"kind": "regression"},
        "data": {"text": "words", "label": "number"},
        "evaluate": {"minimum": {"rmse": 6.0, "r2": 0.1}},
    },
}
"""Options that the steps of a run get without those of the other sections."""


def write_source(path: Path) -> Path:
    """Texts that name their labels, and numbers that count the labels."""
    rows = []
    for number in range(ROWS):
        tags = [tag for bit, tag in enumerate(("red", "blue", "green")) if number >> bit & 1]
        topics, words = [*tags, f"row{number}"], [*tags, *["blue"] * (number % 4)]
        rows.append(
            [
                " ".join(topics),
                f"end {number % 5}",
                "|".join(tags),
                " ".join([*words, f"row{number}"]),
                10 + 5 * words.count("blue"),
                *(int(tag in tags) for tag in ("red", "blue", "green")),
            ]
        )
    header = ["topics", "ending", "tags", "words", "number", "red", "blue", "green"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def configure(root: Path, kind: str, **train_options: Any) -> Config:
    options = KINDS[kind]
    return validate_config(
        {
            "task": options["task"],
            "data": {"source": str(write_source(root / "rows.csv")), **options["data"]},
            "model": {"encoder": "scratch", "dropout": 0.1, **SIZES},
            "train": {"epochs": 8, "learning_rate": 0.03, "batch_size": 8, **train_options},
            "evaluate": {"allow_unpredicted_classes": True},
            "export": {"model_store": str(root / "models"), "model_name": "kinds"},
        }
    )


@pytest.fixture(scope="module", params=KINDS)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the artifacts of a run that released a model; named as its kind."""
    home = tmp_path_factory.mktemp("kinds") / str(request.param)
    home.mkdir()
    config = configure(home, home.name)
    shards, checkpoint, report, decision = (
        home / name for name in ("shards", "checkpoint", "report", "decision.json")
    )
    tokenize_text.run(config.data, config.model, config.tokenize, shards, config.task)
    train.run(config.model, config.train, shards, checkpoint, home / "state")
    evaluate.run(config.evaluate, shards, checkpoint, report)
    decided = gate.run(config.evaluate, config.export, shards, report, decision)
    assert decided.passed, decided.reason
    export.run(config.export, shards, checkpoint, report, decision)
    return home


def test_every_artifact_names_the_task_and_the_model_has_learned(home: Path) -> None:
    report = open_report(home / "report").content
    release = open_release(home / "models" / "kinds" / "1").content
    checkpoint = open_checkpoint(home / "checkpoint").content
    assert {each.task.kind for each in (report, release, checkpoint)} == {home.name}
    metrics = report.scalar_metrics()
    assert metrics["micro_f1" if home.name == "multi_label" else "r2"] > 0.7
    assert checkpoint.history[-1].validation_loss < checkpoint.history[0].validation_loss


def test_the_served_model_answers_in_the_terms_of_the_task(home: Path) -> None:
    release = str(home / "models" / "kinds" / "1")
    high, low = TEXTS[home.name]
    ended = CliRunner().invoke(app, ["predict", release, *high, *low, "--json"])
    assert ended.exit_code == 0, ended.output
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    if home.name == "multi_label":
        assert {"red", "blue"} <= set(answers[0]["labels"])
        assert answers[0]["scores"]["red"] > answers[1]["scores"]["red"]
    else:
        assert answers[0]["value"] > answers[1]["value"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"workers": 2}, id="2 workers"),
        pytest.param(
            {"gradient_accumulation_steps": 3}, id="accumulation", marks=pytest.mark.nightly
        ),
    ],
)
def test_the_losses_do_not_depend_on_how_a_batch_is_divided(
    home: Path, options: dict[str, int]
) -> None:
    losses = []
    for number, changes in enumerate(({}, options)):
        root = home / f"{min(options)}-{number}"
        root.mkdir()
        config = configure(root, home.name, epochs=1, **changes)
        content = train.run(
            config.model, config.train, home / "shards", root / "checkpoint", root / "state"
        )
        losses.append(content.step_losses)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.parametrize("options", COMMANDS.values(), ids=COMMANDS)
def test_the_command_runs_all_steps_and_releases(options: dict[str, Any], tmp_path: Path) -> None:
    values = {
        **options,
        "data": options["data"] | {"source": str(write_source(tmp_path / "rows.csv"))},
        "model": {"encoder": "scratch", "dropout": 0.1, **SIZES},
        "train": {"epochs": 8, "learning_rate": 0.03, "batch_size": 8} | options.get("train", {}),
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "run", str(config), "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    gate = json.loads(ended.stdout)["gate"]
    assert gate["passed"]
    assert all(
        metric.partition("[")[0] in gate["reason"] for metric in options["evaluate"]["minimum"]
    )
