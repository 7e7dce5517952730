"""Candidates by kind of task: what the gate demands of them, and how they are compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.artifacts.artifact import Artifact
from components.artifacts.predictions import Predictions, iterate_predictions
from components.artifacts.report import (
    MultiLabelReport,
    RegressionReport,
    Report,
    ReportContent,
)
from components.errors import DataError
from components.gate.candidates.candidate import Candidate, Comparison
from components.gate.candidates.multi_label import read_multi_label
from components.gate.candidates.regression import read_regression
from components.gate.candidates.single_label import read_single_label

__all__ = ["Candidate", "Comparison", "read_candidate"]


def read_candidate(report: Artifact[Report]) -> Candidate:
    """The candidate of a verified report; DataError if its figures are not of its predictions."""
    directory, manifest, content = report.directory, report.manifest, report.content
    parts = _iterate_finite_predictions(directory)
    match content:
        case ReportContent():
            return read_single_label(Artifact(directory, manifest, content), parts)
        case MultiLabelReport():
            return read_multi_label(Artifact(directory, manifest, content), parts)
        case RegressionReport():
            return read_regression(Artifact(directory, manifest, content), parts)


def _iterate_finite_predictions(directory: Path) -> Iterator[Predictions]:
    for part in iterate_predictions(directory):
        if not np.isfinite(part.scores).all():
            raise DataError(f"{directory}: holds scores that are not finite numbers")
        yield part
