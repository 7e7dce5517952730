"""The compiled pipeline that scores, run with kfp.local: real steps on a small release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.progress import ProgressFile
from components.storage.store import open_store
from tests.support.releases.word_rule import publish_rule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PROCESS = """
import json, sys
from pathlib import Path
sys.modules["docker"] = None
from kfp import local
from kfp.components import load_component_from_file
from pipeline import scoring_definition
home, arguments = Path(sys.argv[1]), json.loads(sys.argv[2])
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(home / "artifacts"))
scoring_definition.compile_pipeline(home / "pipeline.yaml")
load_component_from_file(str(home / "pipeline.yaml"))(**arguments)
"""
ROWS = 20


def run_pipeline(home: Path, **arguments: str | int) -> dict[str, dict[str, object]]:
    """The figures of each step."""
    events = home / "events.jsonl"
    events.unlink(missing_ok=True)
    ended = subprocess.run(
        [sys.executable, "-c", PROCESS, str(home), json.dumps(arguments)],
        env={**os.environ, "KUBERT_PROGRESS": str(events), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = ProgressFile(events).read_new_events()
    return {event.step: dict(event.figures or {}) for event in found if event.kind == "finished"}


def test_a_day_is_scored_once_by_the_release_that_was_the_champion(tmp_path: Path) -> None:
    models = tmp_path / "models"
    store = open_store(str(models))
    publish_rule(store, tmp_path / "first", "first", {"w1": 1, "w2": 2})
    source = tmp_path / "in" / "2030-05-07.csv"
    source.parent.mkdir()
    source.write_text("id,text\n" + "".join(f"{n},w{n % 3} text\n" for n in range(ROWS)))
    arguments: dict[str, str | int] = {
        "release": str(models / "news"),
        "source": str(tmp_path / "in" / "{date}.csv"),
        "target": str(tmp_path / "out" / "{date}"),
        "end_time": "2030-05-07T02:30:00Z",
        "format": "jsonl",
        "workers": 1,
        "data": json.dumps({"text": "text"}),
        "score": json.dumps({"keep": ["id"]}),
    }
    figures = run_pipeline(tmp_path, **arguments)
    assert figures["score"]["rows"] == ROWS
    assert figures["resolve"]["release"] == str(models / "news" / "1")
    predictions = tmp_path / "out" / "2030-05-07" / "predictions.jsonl"
    before = predictions.read_bytes()
    assert len(before.splitlines()) == ROWS
    # Another champion, and the same day again.
    publish_rule(store, tmp_path / "second", "second", {"w1": 2, "w2": 1})
    again = run_pipeline(tmp_path, **arguments)
    assert (again["score"]["created"], again["resolve"]) == (False, figures["resolve"])
    assert predictions.read_bytes() == before
