"""Cross-entropy and calibration: means of a figure of each row.

The rows are added up in chunks of CHUNK_ROWS, so that the sums, which depend on the order in the
last digit, do not depend on how the rows were cut into parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts.report import CalibrationBin
from components.confidence.chunked_sums import RowChunks
from components.evaluate.score_checks import Labels, Scores

CALIBRATION_BINS = 15
_EDGES = np.linspace(0, 1, CALIBRATION_BINS + 1)


class RowMeans:
    """Adds up the cross-entropy, and confidence and accuracy by confidence, of parts of the rows.

    Memory is that of one chunk and one part.
    """

    def __init__(self) -> None:
        self._chunks = RowChunks()
        self._rows = 0
        self._loss = 0.0
        self._bin_rows = np.zeros(CALIBRATION_BINS, np.int64)
        self._bin_correct = np.zeros(CALIBRATION_BINS, np.int64)
        self._bin_confidence = np.zeros(CALIBRATION_BINS)

    def add(self, labels: Labels, predicted: npt.NDArray[np.intp], scores: Scores) -> None:
        """Add a part; `predicted` [rows] is the class with the largest score."""
        rows = np.arange(len(labels))
        figures = np.stack(
            [
                scores[rows, labels],
                scores[rows, predicted],
                (predicted == labels).astype(np.float32),
            ]
        )
        for chunk in self._chunks.add(figures):
            self._add_chunk(chunk)

    def mean_cross_entropy(self) -> float:
        """Mean of -log(score of the true class) in nats; 0 counts as the least float32."""
        self._add_rest()
        return max(0.0, self._loss / self._rows)

    def calibration_bins(self) -> tuple[CalibrationBin, ...]:
        """Accuracy by confidence (the largest score), in CALIBRATION_BINS equal bins of (0, 1]."""
        self._add_rest()
        return tuple(
            CalibrationBin(
                low=round(float(low), 6),
                high=round(float(high), 6),
                rows=rows,
                confidence=confidence / rows if rows else None,
                accuracy=correct / rows if rows else None,
            )
            for (low, high), rows, confidence, correct in zip(
                itertools.pairwise(_EDGES),
                self._bin_rows.tolist(),
                self._bin_confidence.tolist(),
                self._bin_correct.tolist(),
                strict=True,
            )
        )

    def _add_rest(self) -> None:
        for chunk in self._chunks.take_rest():
            self._add_chunk(chunk)

    def _add_chunk(self, chunk: npt.NDArray[np.float32]) -> None:
        truth, confidence, correct = chunk.astype(np.float64)
        self._rows += len(truth)
        self._loss += float(-np.log(np.maximum(truth, np.finfo(np.float32).tiny)).sum())
        numbers = np.searchsorted(_EDGES[1:-1], confidence, side="left")
        for number in np.unique(numbers):
            inside = numbers == number
            self._bin_rows[number] += int(inside.sum())
            self._bin_correct[number] += int(correct[inside].sum())
            self._bin_confidence[number] += confidence[inside].sum()


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by rows.

    C. Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.
    """
    rows = sum(part.rows for part in bins)
    gaps = (
        part.rows * abs(part.confidence - part.accuracy)
        for part in bins
        if part.confidence is not None and part.accuracy is not None
    )
    return sum(gaps) / rows
