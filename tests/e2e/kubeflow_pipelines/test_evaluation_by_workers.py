"""Evaluate and gate whose test rows are scored by two pods, by the steps, and on this machine.

All decide about one candidate, against one champion, and must write the same bytes.
"""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.artifacts.transfer import download_artifact
from components.config.schema import EvaluateConfig, ExportConfig
from components.evaluate import step as evaluate_step
from components.gate import step as gate_step
from components.scoring.test_rows import TestRowScoring
from components.storage.store import Store, open_store
from tests.support.real_kfp.dated_rows import upload_rows
from tests.support.real_kfp.run_objects import RunObjects
from tests.support.real_kfp.server import KubertCommand
from tests.support.real_kfp.small_run import build_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ROWS = 4000
RUN_TIMEOUT_SECONDS = 1200.0
TIME = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
Files = dict[str, bytes]


@dataclass(frozen=True)
class Outcome:
    """The files of a report, those of the test rows' scores, and the gate's decision."""

    report: Files
    scores: Files
    decision: bytes


@dataclass(frozen=True)
class Outcomes:
    """By the pods of two workers, by the steps' own pods, and by two processes on this machine."""

    by_pods: Outcome
    by_steps: Outcome
    here: Outcome
    run: RunObjects


def read_files(store: Store, prefix: str) -> Files:
    """The content of all objects below a directory, by their names below it."""
    return {key.removeprefix(f"{prefix}/"): store.read_bytes(key) for key in store.list(prefix)}


def read_report(store: Store, prefix: str) -> Files:
    """The files of a report; of its manifest, all but the image that it was made in."""
    files = read_files(store, prefix)
    manifest = json.loads(files["manifest.json"])
    return files | {"manifest.json": json.dumps(manifest | {"image": ""}).encode()}


def read_units(store: Store) -> Files:
    """The results of units below a state."""
    return {key: data for key, data in read_files(store, "scores").items() if "/units/" in key}


class Candidate:
    """A configuration in a store of its own, its runs, and what they leave."""

    def __init__(self, kubert: KubertCommand, uri: str, directory: Path) -> None:
        self.kubert, self.uri, self.directory = kubert, uri, directory
        self.store, self.state = open_store(uri), open_store(f"{uri}/state")
        upload_rows(f"{uri}/rows.csv", [TIME] * ROWS)

    def release_champion(self) -> None:
        """Version 1, trained on this machine."""
        config = self._write_config("champion", backend="local", seed=1)
        ended = self.kubert.run("run", str(config), timeout=RUN_TIMEOUT_SECONDS)
        assert ended.returncode == 0, ended.stderr

    def run(self, workers: int) -> tuple[RunObjects, Outcome]:
        """A run of another seed on the cluster; version 1 is the champion before and after it."""
        config = self._write_config(f"by-{workers}", backend="jobset", seed=2, workers=workers)
        shown = self.kubert.run(
            "submit", str(config), "--wait", "--json", timeout=RUN_TIMEOUT_SECONDS
        )
        assert shown.returncode in (0, 3), shown.stderr
        run = RunObjects(json.loads(shown.stdout)["run"], self.kubert.server.namespace)
        self.kubert.run("models", "rollback", f"{self.uri}/models/news", "--to", "1")
        report = self.find_artifact(run, "evaluate", "report")
        decision = self.find_artifact(run, "gate", "decision")
        return run, Outcome(
            read_report(self.store, report),
            read_units(self.state),
            self.store.read_bytes(decision),
        )

    def find_artifact(self, run: RunObjects, step: str, name: str) -> str:
        """The key of a step's artifact."""
        keys = self.store.list(f"root/kubert/{run.run_id}")
        part = re.compile(rf".*/{step}/[^/]+/{name}(?=/|$)")
        (found,) = {match[0] for key in keys if (match := part.match(key))}
        return found

    def score_here(self, run: RunObjects) -> Outcome:
        """The same evaluation and decision, of the shards and the checkpoint of a run."""
        shards, checkpoint = self.directory / "shards", self.directory / "checkpoint"
        for step, name, path, kind in (
            ("tokenize", "shards", shards, "token_shards"),
            ("train", "checkpoint", checkpoint, "checkpoint"),
        ):
            uri = self.store.uri(self.find_artifact(run, step, name))
            download_artifact(uri, path, kind)  # type: ignore[arg-type]
        config = EvaluateConfig(min_accuracy=0.3, workers=2)
        export = ExportConfig(model_store=f"{self.uri}/models", model_name="news")
        report, decision = self.directory / "report", self.directory / "decision"
        scoring = TestRowScoring(state=str(self.directory / "state"))
        evaluate_step.run(config, shards, checkpoint, report, scoring)
        gate_step.run(config, export, shards, report, decision, scoring)
        return Outcome(
            read_report(open_store(str(self.directory)), "report"),
            read_units(open_store(scoring.state)),
            decision.read_bytes(),
        )

    def _write_config(self, name: str, *, backend: str, seed: int, workers: int = 0) -> Path:
        values: dict[str, Any] = build_config(self.uri, backend=backend)
        values["tokenize"]["rows_per_shard"] = 100_000
        values["data"] = {
            "source": f"{self.uri}/rows.csv",
            "text": ["text"],
            "label": "label",
            "test_fraction": 0.4,
        }
        values["train"] |= {"epochs": 1, "seed": seed}
        values["evaluate"]["workers"] = workers
        values["cluster"]["pipeline_root"] = f"{self.uri}/root"
        path = self.directory / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path


@pytest.fixture(scope="module")
def outcomes(
    kubert: KubertCommand, store_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Outcomes:
    candidate = Candidate(kubert, f"{store_uri}/evaluated", tmp_path_factory.mktemp("evaluated"))
    candidate.release_champion()
    run, by_pods = candidate.run(workers=2)
    here = candidate.score_here(run)
    candidate.state.clear("scores")
    _, by_steps = candidate.run(workers=0)
    return Outcomes(by_pods, by_steps, here, run)


def test_two_pods_score_for_evaluate_and_two_for_gate(outcomes: Outcomes) -> None:
    jobsets = [found["metadata"]["name"] for found in outcomes.run.list_jobsets()]
    pods = {
        name.split("-")[1]: len(outcomes.run.list_worker_pods(name))
        for name in jobsets
        if not name.startswith("kubert-train-")
    }
    assert pods == {"evaluate": 2, "gate": 2}


@pytest.mark.parametrize("other", ["by_steps", "here"])
def test_workers_change_no_byte_of_the_scores_the_report_and_the_decision(
    other: str, outcomes: Outcomes
) -> None:
    expected, found = outcomes.by_pods, getattr(outcomes, other)
    sizes = {name: len(data) for name, data in expected.report.items()}
    print(f"{len(expected.scores)} results of units; report: {sizes}")
    print(expected.decision.decode())
    decision = json.loads(expected.decision)
    assert decision["champion_version"] == 1 and decision["champion_accuracy"] is not None
    assert found.scores == expected.scores
    assert found.report == expected.report
    assert found.decision == expected.decision
