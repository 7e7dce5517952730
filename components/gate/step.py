"""The gate step: decides from a report whether its checkpoint may be released.

A candidate passes if it meets `components.gate.requirements` (the minimum accuracy and macro-F1,
more right rows than always predicting the most frequent class, no class that it never predicts)
and its accuracy is not below that of the champion on the same test rows; equal passes. The champion
is pulled and scored on these very rows, so that a change of the test data favours neither; where it
was made from the candidate's own checkpoint, the report has its score.

Whatever leaves a doubt closes the gate: a report that is damaged or unfinished, a score that is not
finite, test rows of one class only, a champion that cannot be loaded or has other classes. The
decision depends on the model registry, so it is never cached.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from components import progress
from components.artifacts.artifact import Artifact
from components.artifacts.gate_decision import GateDecision, write_decision
from components.artifacts.predictions import Predictions, iterate_predictions
from components.artifacts.report import ReportContent, open_report
from components.artifacts.token_shards import TokenShards, open_shards
from components.config.schema import EvaluateConfig, ExportConfig
from components.errors import DataError, MissingArtifactError
from components.gate.requirements import ClassCounts, count_classes, list_failures
from components.progress import StepName
from components.registry.champion import read_champion
from components.registry.listing import ModelListing, list_model
from components.registry.registry import read_release
from components.scoring.test_rows import TestRowScoring, score_test_rows
from components.storage.store import open_store

MAX_ROUNDING_ERROR = 1e-9


def run(
    config: EvaluateConfig,
    export: ExportConfig,
    shards: Path,
    report: Path,
    output: Path,
    scoring: TestRowScoring | None = None,
) -> GateDecision:
    """Decide about the report's checkpoint and write the decision to the JSON file `output`.

    `scoring` says how the champion's test rows are scored.

    Raises what says nothing about the candidate: DataError for damaged shards and for a report on
    other shards, MissingArtifactError for one that is gone, ConfigError or StoreError if the
    registry cannot be reached.
    """
    progress.report(StepName.GATE, "reading the report")
    decision = _decide_by_report(
        config, export, open_shards(shards), report, scoring or TestRowScoring()
    )
    write_decision(output, decision)
    progress.report(StepName.GATE, decision.reason)
    return decision


def _decide_by_report(
    config: EvaluateConfig,
    export: ExportConfig,
    shards: TokenShards,
    report: Path,
    scoring: TestRowScoring,
) -> GateDecision:
    store = open_store(export.model_store)
    decision = GateDecision(
        passed=False,
        reason="",
        min_accuracy=config.min_accuracy,
        min_macro_f1=config.min_macro_f1,
    )
    try:
        opened = open_report(report)
        counts = _count_rows(opened)
    except MissingArtifactError:
        raise  # evaluate was reused and its report deleted; the run can make it again
    except DataError as error:
        return _close_gate(decision, f"the report cannot be used. {error}")
    content = opened.content
    if content.shards_digest != shards.digest:
        raise DataError(
            f"{report}: is about other data than {shards.directory}; evaluate on these shards first"
        )
    decision = decision.model_copy(
        update={
            "accuracy": content.accuracy,
            "majority_share": counts.majority_share,
            "macro_f1": content.macro_f1,
            "unpredicted_classes": tuple(counts.unpredicted_classes),
            "test_rows": content.test_rows,
            "report_digest": opened.digest,
            "checkpoint_digest": content.checkpoint_digest,
        }
    )
    if failures := list_failures(config, counts, content.macro_f1):
        return _close_gate(decision, " ".join([failures[0], *map(_capitalize, failures[1:])]))
    listing = list_model(store, export.model_name)
    return _compare_with_champion(decision, counts, config, shards, listing, scoring)


def _compare_with_champion(
    decision: GateDecision,
    counts: ClassCounts,
    config: EvaluateConfig,
    shards: TokenShards,
    listing: ModelListing,
    scoring: TestRowScoring,
) -> GateDecision:
    """The decision about a candidate that meets all requirements that concern it alone."""
    accuracy, majority = counts.describe_accuracy(), counts.describe_majority()
    reached = f"{accuracy} reaches min_accuracy {config.min_accuracy:.4f}"
    version = read_champion(listing)
    if version is None:
        return _open_gate(
            decision, f"{reached}; {majority}; no version of {listing.name} is released yet."
        )
    decision = decision.model_copy(update={"champion_version": version})
    try:
        scored = {decision.checkpoint_digest: counts.correct}
        champion = _count_correct_rows_of_champion(
            config, listing, version, shards, scored, scoring
        )
    except DataError as error:
        return _close_gate(
            decision, f"the released version {version} cannot be compared with. {error}"
        )
    share = champion / decision.test_rows
    decision = decision.model_copy(update={"champion_accuracy": share})
    against = (
        f"the {share:.4f} ({champion} rows) of the released version {version} on the same rows"
    )
    if counts.correct < champion:
        return _close_gate(decision, f"{accuracy} is worse than {against}.")
    relation = "equals" if counts.correct == champion else "is better than"
    return _open_gate(decision, f"{reached} and {relation} {against}; {majority}.")


def _close_gate(decision: GateDecision, reason: str) -> GateDecision:
    return decision.model_copy(update={"reason": f"Closed: {reason}"})


def _open_gate(decision: GateDecision, reason: str) -> GateDecision:
    return decision.model_copy(update={"passed": True, "reason": f"Passed: {reason}"})


def _capitalize(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _count_rows(report: Artifact[ReportContent]) -> ClassCounts:
    """Count the test rows by the predictions; DataError if the report's accuracy is another."""
    content, directory = report.content, report.directory
    counts = count_classes(_iterate_finite_predictions(directory), content.classes)
    if (
        counts.rows != content.test_rows
        or abs(counts.correct / content.test_rows - content.accuracy) > MAX_ROUNDING_ERROR
    ):
        raise DataError(
            f"{directory}: its accuracy {content.accuracy} is not that of its predictions "
            f"({counts.correct} of {counts.rows})"
        )
    return counts


def _iterate_finite_predictions(directory: Path) -> Iterator[Predictions]:
    for part in iterate_predictions(directory):
        if not np.isfinite(part.scores).all():
            raise DataError(f"{directory}: holds scores that are not finite numbers")
        yield part


def _count_correct_rows_of_champion(
    config: EvaluateConfig,
    listing: ModelListing,
    version: int,
    shards: TokenShards,
    scored: Mapping[str, int],
    scoring: TestRowScoring,
) -> int:
    """Test rows that the champion classifies correctly; DataError if it is damaged.

    `scored` has this number for checkpoints (by digest) that were scored on these rows already.
    Classes are compared by name, so their order may differ. Other classes are a DataError: who
    calls the server relies on the classes, so a model with others needs another name.
    """
    with tempfile.TemporaryDirectory(prefix="kubert-champion-") as directory:
        champion = read_release(listing, version).pull(Path(directory) / str(version))
        champion_classes, classes = champion.content.classes, shards.content.classes
        if set(champion_classes) != set(classes):
            raise DataError(
                f"It knows the classes {', '.join(champion_classes)}, the candidate "
                f"{', '.join(classes)}; release the candidate under another export.model_name."
            )
        if (checkpoint := champion.manifest.inputs.get("checkpoint", "")) in scored:
            return scored[checkpoint]
        labels, correct = shards.open_split("test").read_labels(), 0
        class_indices = np.array([classes.index(label) for label in champion_classes])
        progress.report(StepName.GATE, f"comparing with the released version {version}")
        uri = listing.store.uri(f"{listing.name}/{version}")
        for part in score_test_rows(StepName.GATE, champion, uri, shards, config, scoring):
            if not np.isfinite(part.values).all():
                raise DataError("It gives scores that are not finite numbers.")
            predicted = class_indices[part.values.argmax(axis=1)]
            correct += int((predicted == labels[part.rows]).sum())
        return correct
