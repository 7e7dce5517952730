"""Reports with chosen predictions, and the gate's decisions about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import manifest
from components.artifacts.gate_decision import GateDecision, read_decision
from components.artifacts.predictions import PredictionsWriter
from components.artifacts.report import CONTENT_FILENAME
from components.artifacts.token_shards import open_shards
from components.config.schema import EvaluateConfig, ExportConfig
from components.evaluate import metrics
from components.gate import step as gate
from tests.support.releases.made_report import report_content
from tests.support.training.tiny_checkpoint import CLASSES

LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
TEXTS = [f"w{number} and more" for number in range(len(LABELS))]
ANSWERS = {f"w{number}": label for number, label in enumerate(LABELS)}


def answers(wrong: int) -> dict[str, int]:
    """A rule's answers, of which the first `wrong` ones are wrong."""
    return {
        word: (label + (number < wrong)) % 3 for number, (word, label) in enumerate(ANSWERS.items())
    }


def make_report(
    directory: Path,
    shards: Path,
    wrong: int,
    labels: Sequence[int] = LABELS,
    predicted: Sequence[int] | None = None,
    **changes: Any,
) -> Path:
    """A report whose predictions are `predicted`, or wrong for the first `wrong` rows.

    `changes` go into report.json unchecked.
    """
    truth = np.asarray(labels, np.int32)
    if predicted is None:
        predicted = [(label + (row < wrong)) % 3 for row, label in enumerate(labels)]
    scores = (0.1 + 0.7 * np.eye(3)[np.asarray(predicted)]).astype(np.float32)
    measures = metrics.compute_metrics(truth, scores, CLASSES)
    content = report_content().model_copy(
        update={**dict(measures), "mistakes": (), "shards_digest": open_shards(shards).digest}
    )
    with manifest.staged_artifact(directory) as work:
        (work / CONTENT_FILENAME).write_text(
            json.dumps({**json.loads(content.model_dump_json()), **changes})
        )
        with PredictionsWriter(work) as predictions:
            predictions.add(truth, scores, None)
        manifest.commit(work, "report", content={})
    return directory


def decide(
    tmp_path: Path,
    shards: Path,
    report: Path,
    store: Path | str | None = None,
    minimum: float = 0.5,
    evaluate: Mapping[str, Any] | None = None,
    **options: Any,
) -> GateDecision:
    export = ExportConfig(model_store=str(store or tmp_path / "store"))
    found = gate.run(
        EvaluateConfig(min_accuracy=minimum, **options, **(evaluate or {})),
        export,
        shards,
        report,
        tmp_path / "out" / "decision.json",
    )
    assert read_decision(tmp_path / "out" / "decision.json") == found
    return found
