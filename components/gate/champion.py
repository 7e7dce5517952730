"""Compares a candidate with the champion: the released version, on the same test rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components import progress
from components.artifacts.gate_decision import GateDecision
from components.artifacts.predictions import Predictions, iterate_predictions
from components.artifacts.release import ReleaseContent
from components.artifacts.token_shards import ShardsContent, TokenShards
from components.config.schema import EvaluateConfig
from components.errors import DataError
from components.gate.candidates import Candidate, Comparison
from components.progress import StepName
from components.registry.listing import ModelListing
from components.registry.registry import read_release
from components.scoring.test_rows import TestRowScoring, score_split_rows

TakeRows = Callable[[int], tuple[npt.NDArray[Any], npt.NDArray[Any]]]


def compare_with_champion(
    config: EvaluateConfig,
    decision: GateDecision,
    candidate: Candidate,
    listing: ModelListing,
    version: int,
    shards: TokenShards,
    report: Path,
    scoring: TestRowScoring,
) -> Comparison:
    """Score the champion on the report's test rows; DataError if it is damaged.

    A champion that was exported from the candidate's own checkpoint is not scored. Classes are
    compared by name, so their order may differ. Another task, other classes or inputs are a
    DataError: who calls the server relies on them, so a model with others needs another name.
    """
    with tempfile.TemporaryDirectory(prefix="kubert-champion-") as directory:
        champion = read_release(listing, version).pull(Path(directory) / str(version))
        check_replaceable(champion.content, shards.content)
        if champion.manifest.inputs.get("checkpoint", "") == decision.checkpoint_digest:
            return candidate.equal_itself()
        paired = candidate.pair_with(champion.content, shards.content.classes)
        progress.report(StepName.GATE, f"comparing with the released version {version}")
        uri = listing.store.uri(f"{listing.name}/{version}")
        take_rows = _read_in_parts(iterate_predictions(report))
        for part in score_split_rows(StepName.GATE, champion, uri, shards, config, scoring):
            if not np.isfinite(part.values).all():
                raise DataError("It gives scores that are not finite numbers.")
            labels, predicted = take_rows(len(part.rows))
            paired.add(labels, predicted, part.values)
    return paired.compare()


def check_replaceable(champion: ReleaseContent, candidate: ShardsContent) -> None:
    """DataError if a client of the champion could not use the candidate."""
    if champion.task.kind != candidate.task.kind:
        raise DataError(
            f"Its task is {champion.task.kind}, the candidate's {candidate.task.kind}; release the "
            "candidate under another export.model_name."
        )
    if set(champion.classes) != set(candidate.classes):
        raise DataError(
            f"It knows the classes {', '.join(champion.classes)}, the candidate "
            f"{', '.join(candidate.classes)}; release the candidate under another "
            "export.model_name."
        )
    if champion.inputs != candidate.inputs:
        raise DataError(
            f"It takes the inputs {', '.join(champion.inputs)}, the candidate "
            f"{', '.join(candidate.inputs)}; release the candidate under another "
            "export.model_name."
        )


def find_missed_margin(config: EvaluateConfig, comparison: Comparison) -> str:
    """What does not reach `evaluate.champion_margin`; empty if it is reached.

    A champion of the same checkpoint is released already: it reaches every margin.
    """
    if comparison.difference is None:
        return ""
    if config.champion_rule == "interval":
        is_reached = comparison.difference.low >= config.champion_margin
        return "" if is_reached else "the lower end of the interval"
    return "" if comparison.reaches(config.champion_margin) else "the difference"


def _read_in_parts(parts: Iterable[Predictions]) -> TakeRows:
    """A function that reads labels and predictions of the next rows, however the parts are cut."""
    stream = iter(parts)
    pending: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []

    def take(count: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        while sum(len(labels) for labels, _ in pending) < count:
            part = next(stream, None)
            if part is None:
                raise DataError("The report has fewer rows than the test split.")
            pending.append((part.labels, part.predicted))
        labels, predicted = map(np.concatenate, zip(*pending, strict=True))
        pending[:] = [(labels[count:], predicted[count:])]
        return labels[:count], predicted[:count]

    return take
