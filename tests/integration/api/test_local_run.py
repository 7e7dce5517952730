"""`kubert.run` on the built-in sample, with a model that learns next to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import kubert
from components.progress import ProgressEvent
from pipeline.run_state import STEP_NAMES

TINY = {
    "model.encoder": "scratch",
    "model.max_length": 32,
    "model.hidden_size": 16,
    "model.intermediate_size": 16,
    "model.vocab_size": 1000,
    "train.epochs": 1,
    "evaluate.min_accuracy": 0,
    "evaluate.allow_unpredicted_classes": True,
}


@pytest.mark.slow
def test_a_run_gives_figures_a_report_and_a_release_or_the_gates_reason(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    run = kubert.run(options=TINY, workdir=tmp_path, show=events.append)
    ended = {event.step for event in events if event.kind == "finished"}
    assert {str(step) for step in STEP_NAMES} - ended <= {"export"}
    assert run.figures["test_rows"] == 154
    assert run.accuracy == run.figures["accuracy"]
    assert "srcdoc=" in run.report._repr_html_()
    if run.is_released:
        assert run.load_release().predict("Oil prices fell").label in run.load_release().classes
    else:
        with pytest.raises(kubert.DataError, match=r"nothing was released: .*accuracy"):
            run.load_release()


def test_a_mistake_is_found_before_the_first_step(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    with pytest.raises(kubert.KubertError, match="nope\\.csv does not exist"):
        kubert.run(options={"data.source": "nope.csv"}, workdir=tmp_path, show=events.append)
    assert events == []
    with pytest.raises(kubert.UsageError, match="show: give a function"):
        kubert.run(options=TINY, workdir=tmp_path / "work", show="x")  # type: ignore[call-overload]
    assert not (tmp_path / "work").exists()
