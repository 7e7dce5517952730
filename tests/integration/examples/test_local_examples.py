"""The examples for one machine, by `kubert run`: real steps, and less training where it is long.

01 has the options of the preset `quickstart`, which the documentation's tests run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.report import open_report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[3]
SHORTER = {
    "02-own-csv.yaml": [
        "model.freeze=true",
        "train.epochs=20",
        "train.learning_rate=0.01",
        "train.weight_decay=0",
    ],
    "03-frozen-minilm.yaml": ["model.max_length=32"],
    "04-two-workers-local.yaml": ["train.epochs=4", "evaluate.min_accuracy=0.3"],
}
"""Options that make an example short enough for a test; the example itself takes longer."""
SAMPLE_ROWS = {"train": 593, "validation": 53, "test": 154}
RunExample = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run_example(tmp_path_factory: pytest.TempPathFactory) -> RunExample:
    """Runs an example in a work directory of its own, from the root of the repository."""

    def run(name: str, *assignments: str) -> dict[str, Any]:
        workdir = tmp_path_factory.mktemp("work")
        options = [part for each in (*SHORTER[name], *assignments) for part in ("--set", each)]
        command = [sys.executable, "-m", "pipeline.cli", "run", f"examples/{name}", *options]
        ended = subprocess.run(
            [*command, "--json", "--workdir", str(workdir)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            timeout=600,
        )
        assert ended.returncode == 0, ended.stderr
        result: dict[str, Any] = json.loads(ended.stdout)
        return result

    return run


def output_path(result: dict[str, Any], step: str, name: str) -> Path:
    """The directory of a step's output."""
    (path,) = (Path(result["workdir"]) / "artifacts").glob(f"*/{step}/{name}")
    return path


def test_own_csv_counts_the_bad_row_and_releases(run_example: RunExample) -> None:
    result = run_example("02-own-csv.yaml")
    assert result["gate"]["passed"] is True
    assert sum(result["rows"].values()) == 240
    assert result["accuracy"] > 0.8
    assert Path(result["release"]).parts[-2:] == ("support", "1")
    report = open_report(Path(result["report"]).parent).content
    assert report.classes == ("account", "billing", "delivery", "repairs")
    assert report.data.refused == {"missing label": 1}
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "derailleur" not in page, "the report shows no ticket"


@pytest.mark.nightly
def test_frozen_minilm_trains_only_the_head(run_example: RunExample) -> None:
    result = run_example("03-frozen-minilm.yaml")
    assert result["gate"]["passed"] is True
    assert result["rows"] == SAMPLE_ROWS
    assert result["accuracy"] > 0.75
    assert result["train_examples_per_second"] > 500, "the features are read from the cache"


@pytest.mark.nightly
def test_two_workers_train_and_release(run_example: RunExample) -> None:
    result = run_example("04-two-workers-local.yaml")
    assert result["gate"]["passed"] is True
    assert result["rows"] == SAMPLE_ROWS
    checkpoint = open_checkpoint(output_path(result, "train", "checkpoint")).content
    assert checkpoint.workers == 2
    assert len(checkpoint.history) == 4
