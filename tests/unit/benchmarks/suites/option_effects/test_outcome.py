"""Outcomes in files, and right answers counted from predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.suites.option_effects.decision_positions import read_positions
from benchmarks.suites.option_effects.outcome import (
    Outcome,
    count_right_answers,
    read_outcome,
    write_outcome,
)
from components.artifacts.predictions import PredictionsWriter


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    outcome = Outcome(10, ((1, 2), (3, 4)), 1.5, {"end": (1, 2)})
    write_outcome(tmp_path / "outcome.json", outcome)
    assert read_outcome(tmp_path / "outcome.json") == outcome


def test_answers_are_counted_by_the_position_of_the_decision(tmp_path: Path) -> None:
    positions = read_positions()
    texts = [text for text, position in positions.items() if position == "end"][:2]
    texts += [text for text, position in positions.items() if position == "middle"][:1]
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
    with PredictionsWriter(tmp_path) as predictions:
        predictions.add(np.array([0, 0, 1], np.int32), scores, texts)
    assert count_right_answers(tmp_path) == {"end": (1, 2), "middle": (1, 1)}
