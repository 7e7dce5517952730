"""Each kind of task on a real Kubeflow Pipelines: two workers train it, its release answers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.real_kfp.scoring_run import upload
from tests.support.real_kfp.server import KubertCommand
from tests.support.real_kfp.small_run import build_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RUN_TIMEOUT_SECONDS = 900.0
KINDS: dict[str, dict[str, Any]] = {
    "several_labels": {
        "task": {"kind": "multi_label", "separator": "|"},
        "data": {"source": "sample:tickets", "text": ["subject", "message"], "label": "tags"},
        "evaluate": {"allow_unpredicted_classes": True, "workers": 2},
    },
    "numbers": {
        "task": {"kind": "regression"},
        "data": {"source": "sample:reviews", "text": "review", "label": "rating"},
        "evaluate": {"minimum": {"r2": 0.1, "rmse": 5.0}},
    },
    "pairs": {
        "data": {"text_pair": ["question", "answer"]},
        "train": {"epochs": 12},
        "evaluate": {"min_accuracy": 0.8},
    },
    "long_texts": {
        "data": {"source": "sample:long", "text": "minutes", "label": "decision"},
        "model": {"long_texts": "windows", "max_length": 64},
        "evaluate": {"min_accuracy": 0.2, "allow_unpredicted_classes": True},
    },
}
BUILDINGS = ("library", "harbour office", "town hall", "museum", "bakery")
QUESTIONS = {
    "several_labels": ("The invoice is wrong, and the app crashes.",),
    "numbers": ("The room was clean and the staff kind.",),
    "pairs": ("When does the library open?", "The library opens at nine."),
    "long_texts": ("The council met in the evening. " * 40 + "The plan was approved.",),
}
ANSWERS = {
    "several_labels": {"labels", "scores"},
    "numbers": {"value"},
    "pairs": {"label", "scores"},
    "long_texts": {"label", "scores"},
}


def format_pairs() -> str:
    """400 pairs in CSV whose answer alone decides: what a tiny model from scratch learns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["question", "answer", "label"])
    for number in range(400):
        question = f"When does the {BUILDINGS[number % len(BUILDINGS)]} number {number} open?"
        answer, label = ("at nine", "answered") if number % 3 else ("it is old", "evaded")
        writer.writerow([question, f"The {BUILDINGS[number % 3]}: {answer}.", label])
    return stream.getvalue()


def write_config(kind: str, store: str, directory: Path) -> Path:
    """The small configuration of a kind, with two workers as a JobSet."""
    values = build_config(f"{store}/{kind}", backend="jobset")
    for section, options in KINDS[kind].items():
        replaced = {} if section == "evaluate" else values.get(section, {})
        values[section] = replaced | options
    if kind == "pairs":
        values["data"]["source"] = upload(f"{store}/{kind}/pairs.csv", format_pairs())
    path = directory / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_train_a_release_that_answers(
    kind: str, kubert: KubertCommand, store_uri: str, tmp_path: Path
) -> None:
    config = write_config(kind, store_uri, tmp_path)
    run = kubert.read_json("submit", str(config), "--wait", timeout=RUN_TIMEOUT_SECONDS)
    release = f"{store_uri}/{kind}/models/news"
    assert run["verdict"] == f"released version 1: {release}/1"
    (answer,) = kubert.run("predict", release, *QUESTIONS[kind], "--json").stdout.splitlines()
    assert ANSWERS[kind] <= json.loads(answer).keys()


def test_folds_of_pairs_run_side_by_side_and_have_one_report(
    kubert: KubertCommand, store_uri: str, tmp_path: Path
) -> None:
    config = write_config("pairs", f"{store_uri}/folds", tmp_path)
    run = kubert.read_json(
        "submit",
        str(config),
        *("--folds", "2", "--parallel", "2", "--set", "train.workers=1"),
        "--wait",
        timeout=2 * RUN_TIMEOUT_SECONDS,
    )
    assert run["state"] == "SUCCEEDED"
    steps = {step["step"]: step for step in kubert.read_json("runs", "show", run["run"])["steps"]}
    assert {"fold-1", "train-fold-2", "evaluate-fold-2", "summarize"} <= steps.keys()
    assert all(step["status"] == "finished" for step in steps.values())
    assert "accuracy" in run["verdict"]
