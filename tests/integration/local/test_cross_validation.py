"""A cross-validation on the built-in sample, with models that learn next to nothing."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import kubert
from components.progress import ProgressEvent

TINY = {
    "model.encoder": "scratch",
    "model.max_length": 16,
    "model.hidden_size": 16,
    "model.intermediate_size": 16,
    "model.vocab_size": 500,
    "train.epochs": 1,
    "evaluate.explain_errors": 0,
}


@pytest.mark.slow
def test_each_row_is_held_out_once_and_finished_folds_are_reused(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    options = {**TINY, "data.test_fraction": 0}
    result = kubert.run(options=options, workdir=tmp_path, folds=2, show=events.append)
    figures = result.figures
    assert (figures["folds"], figures["rows"]) == (2, 800)
    assert sum(each["rows"]["test"] for each in figures["fold_results"]) == 800
    mean = sum(each["metrics"]["accuracy"] for each in figures["fold_results"]) / 2
    assert result.metrics["accuracy"]["mean"] == pytest.approx(mean)
    table = pq.read_table(result.predictions)
    assert len(set(table["text"].to_pylist())) == len(table) == 800
    right = sum(row["label"] == row["predicted"] for row in table.to_pylist())
    assert right / 800 == pytest.approx(
        sum(each["metrics"]["accuracy"] * each["rows"]["test"] for each in figures["fold_results"])
        / 800
    )
    assert "srcdoc=" in result.report._repr_html_() and "2 folds" in repr(result)
    assert {event.fold for event in events if event.step == "train"} == {1, 2}
    assert not (tmp_path / "models").exists()
    states = {path.name for path in (tmp_path / "state").iterdir() if path.name != "scores"}
    assert len(states) == 2


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_several_labels_and_numbers_are_cross_validated(tmp_path: Path, kind: str) -> None:
    options = {**TINY, "train.precision": "float32", "data.stratify": kind == "multi_label"}
    result = kubert.run(kind, options, workdir=tmp_path, folds=2, show=lambda _event: None)
    figures = result.figures
    rows = pq.read_table(result.predictions).to_pylist()
    assert figures["task"] == kind and figures["rows"] == len(rows) > 600
    for each in figures["fold_results"]:
        held_out = [row for row in rows if row["fold"] == each["fold"]]
        if kind == "multi_label":
            assert len(each["thresholds"]) == 8
            agrees = [row["wrong"] is None for row in held_out]
            expected = each["metrics"]["subset_accuracy"]
        else:
            agrees = [row["error"] ** 2 for row in held_out]
            expected = each["metrics"]["rmse"] ** 2
        assert sum(agrees) / len(held_out) == pytest.approx(expected, rel=1e-5)
    assert ("micro_f1" if kind == "multi_label" else "rmse") in repr(result)
