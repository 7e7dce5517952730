"""Test rows that workers score: a killed one changes no report, their number no decision."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest

from components.artifacts.gate_decision import GateDecision
from components.artifacts.predictions import PREDICTIONS_FILENAME
from components.artifacts.report import open_report
from components.config.schema import EvaluateConfig, ExportConfig
from components.evaluate import step as evaluate
from components.gate import step as gate
from components.scoring.launch import WORKERS_DIRECTORY
from components.scoring.test_rows import TestRowScoring
from components.storage.atomic_files import FileEntry
from components.storage.store import open_store
from tests.support.releases.gate_inputs import make_report
from tests.support.releases.word_rule import publish_rule
from tests.support.training.local_training import wait_for
from tests.support.training.tiny_checkpoint import make_checkpoint, make_shards

ROWS = 2_100
"""Five units: 0, 2 and 4 are those of the first of two workers, 1 and 3 those of the second."""
GATE_ROWS = 600
WORDS = 30


def list_units(state: Path) -> dict[str, int]:
    """The unit results by number, with their inodes."""
    return {path.name[:6]: path.stat().st_ino for path in state.glob("scores/*/units/*.arrow")}


def kill_second_worker(state: Path, seen: dict[str, int]) -> None:
    """Kill the second worker when its first unit is there; `seen` gets the units of then."""
    wait_for(lambda: "000001" in list_units(state), "a unit of the second worker")
    for process in psutil.Process().children():
        if '"index": 1' in process.environ().get("TF_CONFIG", ""):
            process.kill()
    seen.update(list_units(state))


@pytest.mark.slow
def test_a_killed_worker_is_replaced_alone_and_the_report_is_the_same(tmp_path: Path) -> None:
    """Fault P1."""
    make_shards(tmp_path / "shards", [row % 3 for row in range(ROWS)])
    make_checkpoint(tmp_path / "checkpoint")

    def evaluate_with(workers: int) -> tuple[dict[str, FileEntry], bytes]:
        output = tmp_path / f"report-{workers}"
        config = EvaluateConfig(workers=workers, batch_size=1)
        scoring = TestRowScoring(state=str(tmp_path / f"state-{workers}"))
        evaluate.run(config, tmp_path / "shards", tmp_path / "checkpoint", output, scoring)
        files = open_report(output).manifest.files
        return files, (output / PREDICTIONS_FILENAME).read_bytes()

    state, before = tmp_path / "state-2", dict[str, int]()
    killer = threading.Thread(target=kill_second_worker, args=(state, before))
    killer.start()
    killed = evaluate_with(workers=2)
    killer.join()
    after = list_units(state)
    assert "000003" not in before and before.items() <= after.items()
    assert sorted(path.name for path in state.glob(f"scores/*/{WORKERS_DIRECTORY}/logs/*.log")) == [
        "attempt-01-worker-0.log",
        "attempt-01-worker-1.log",
        "attempt-02-worker-1.log",
    ]
    assert killed == evaluate_with(workers=0)


@pytest.mark.slow
def test_the_decision_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    labels = [row % 3 for row in range(GATE_ROWS)]
    texts = [f"w{row % WORDS} and more" for row in range(GATE_ROWS)]
    make_shards(tmp_path / "shards", labels, texts=texts)
    # Wrong about one word, so about rows of both units.
    answers = {f"w{word}": (word + (word == 7)) % 3 for word in range(WORDS)}
    publish_rule(open_store(str(tmp_path / "store")), tmp_path / "source", "key", answers)
    report = make_report(tmp_path / "report", tmp_path / "shards", wrong=19, labels=labels)

    def decide_with(workers: int) -> GateDecision:
        return gate.run(
            EvaluateConfig(workers=workers, min_accuracy=0.5),
            ExportConfig(model_store=str(tmp_path / "store")),
            tmp_path / "shards",
            report,
            tmp_path / f"decision-{workers}.json",
            TestRowScoring(state=str(tmp_path / f"state-{workers}")),
        )

    alone, by_workers = decide_with(workers=0), decide_with(workers=2)
    assert by_workers == alone
    assert by_workers.passed and by_workers.champion_accuracy == 580 / GATE_ROWS
    assert len(list_units(tmp_path / "state-2")) == 2
