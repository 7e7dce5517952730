"""Compares a candidate with the champion: the released version, on the same test rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components import progress
from components.artifacts.gate_decision import GateDecision, PairedDifference
from components.artifacts.predictions import Predictions, iterate_predictions
from components.artifacts.token_shards import TokenShards
from components.config.schema import EvaluateConfig
from components.errors import DataError
from components.gate.paired_comparison import PairedCounts
from components.progress import StepName
from components.registry.listing import ModelListing
from components.registry.registry import read_release
from components.scoring.test_rows import TestRowScoring, score_split_rows

TakeRows = Callable[[int], tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]


@dataclass(frozen=True)
class Comparison:
    """How a candidate compares with the champion; no `paired` counts if their checkpoint is one."""

    version: int
    rows: int
    candidate_correct: int
    paired: PairedCounts | None

    @property
    def champion_correct(self) -> int:
        """Test rows that the champion classifies correctly."""
        return self.candidate_correct if self.paired is None else self.paired.champion_correct

    @property
    def champion_accuracy(self) -> float:
        """The champion's accuracy on the test rows."""
        return self.champion_correct / self.rows

    def measure_differences(self) -> dict[str, PairedDifference]:
        """Candidate minus champion by metric; none for one checkpoint."""
        if self.paired is None:
            return {}
        return {
            "accuracy": self.paired.compare_accuracy(),
            "macro_f1": self.paired.compare_macro_f1(),
        }


def compare_with_champion(
    config: EvaluateConfig,
    decision: GateDecision,
    listing: ModelListing,
    version: int,
    shards: TokenShards,
    report: Path,
    scoring: TestRowScoring,
) -> Comparison:
    """Score the champion on the report's test rows; DataError if it is damaged.

    A champion that was exported from the candidate's own checkpoint is not scored. Classes are
    compared by name, so their order may differ. Other classes or inputs are a DataError: who calls
    the server relies on them, so a model with others needs another name.
    """
    rows = decision.test_rows
    with tempfile.TemporaryDirectory(prefix="kubert-champion-") as directory:
        champion = read_release(listing, version).pull(Path(directory) / str(version))
        champion_classes, classes = champion.content.classes, shards.content.classes
        if set(champion_classes) != set(classes):
            raise DataError(
                f"It knows the classes {', '.join(champion_classes)}, the candidate "
                f"{', '.join(classes)}; release the candidate under another export.model_name."
            )
        if champion.content.inputs != shards.content.inputs:
            raise DataError(
                f"It takes the inputs {', '.join(champion.content.inputs)}, the candidate "
                f"{', '.join(shards.content.inputs)}; release the candidate under another "
                "export.model_name."
            )
        if champion.manifest.inputs.get("checkpoint", "") == decision.checkpoint_digest:
            return Comparison(version, rows, round((decision.accuracy or 0) * rows), None)
        class_indices = np.array([classes.index(label) for label in champion_classes])
        progress.report(StepName.GATE, f"comparing with the released version {version}")
        uri = listing.store.uri(f"{listing.name}/{version}")
        counts, take_rows = PairedCounts(len(classes)), _read_in_parts(iterate_predictions(report))
        for part in score_split_rows(StepName.GATE, champion, uri, shards, config, scoring):
            if not np.isfinite(part.values).all():
                raise DataError("It gives scores that are not finite numbers.")
            labels, candidate = take_rows(len(part.rows))
            counts.add(labels, candidate, class_indices[part.values.argmax(axis=1)])
    return Comparison(version, rows, counts.candidate_correct, counts)


def find_missed_margin(
    config: EvaluateConfig, comparison: Comparison, accuracy: PairedDifference | None
) -> str:
    """What does not reach `evaluate.champion_margin`; empty if it is reached.

    A champion of the same checkpoint is released already: it reaches every margin.
    """
    if accuracy is None:
        return ""
    if config.champion_rule == "interval":
        is_reached = accuracy.low >= config.champion_margin
        return "" if is_reached else "the lower end of the interval"
    # In decimals: 7 rows of 100 are 0.07, but 0.07 * 100 is above 7 in binary.
    needed = Decimal(str(config.champion_margin)) * comparison.rows
    gained = comparison.candidate_correct - comparison.champion_correct
    return "" if gained >= needed else "the difference"


def _read_in_parts(parts: Iterable[Predictions]) -> TakeRows:
    """A function that reads labels and predictions of the next rows, however the parts are cut."""
    stream = iter(parts)
    pending = [np.empty((2, 0), np.int32)]

    def take(count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        while sum(part.shape[1] for part in pending) < count:
            part = next(stream, None)
            if part is None:
                raise DataError("The report has fewer rows than the test split.")
            pending.append(np.stack([part.labels, part.predicted]))
        joined = np.concatenate(pending, axis=1)
        pending[:] = [joined[:, count:]]
        return joined[0, :count], joined[1, :count]

    return take
