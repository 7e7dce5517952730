"""The gate step: decides from a report whether its checkpoint may be released.

A candidate passes if it meets `components.gate.requirements` (the minima of its metrics, more right
rows than always predicting the most frequent class, no class that it never predicts) and its
accuracy is not below that of the champion on the same test rows by more than
`evaluate.champion_margin`; equal passes, unless that option demands more. The champion is pulled
and scored on these very rows, so that a change of the test data favours neither; where it was made
from the candidate's own checkpoint, the report has its score.

Whatever leaves a doubt closes the gate: a report that is damaged or unfinished, a score that is not
finite, test rows of one class only, a champion that cannot be loaded or has other classes or
inputs. The decision depends on the model registry, so it is never cached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from components import progress
from components.artifacts.artifact import Artifact
from components.artifacts.gate_decision import GateDecision, PairedDifference, write_decision
from components.artifacts.predictions import Predictions, iterate_predictions
from components.artifacts.report import ReportContent, open_report
from components.artifacts.shard_metadata import check_class_names
from components.artifacts.token_shards import TokenShards, open_shards
from components.config.evaluate import list_minimum_classes
from components.config.schema import EvaluateConfig, ExportConfig
from components.errors import DataError, MissingArtifactError
from components.gate.champion import Comparison, compare_with_champion, find_missed_margin
from components.gate.requirements import (
    ClassCounts,
    Failure,
    count_classes,
    list_failures,
)
from components.progress import StepName
from components.registry.champion import read_champion
from components.registry.listing import ModelListing, list_model
from components.scoring.test_rows import TestRowScoring
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
        minimum=config.minimum,
        champion_margin=config.champion_margin,
        champion_rule=config.champion_rule,
    )
    try:
        opened = open_report(report)
        counts = _count_rows(opened)
    except MissingArtifactError:
        raise  # evaluate was reused and its report deleted; the run can make it again
    except DataError as error:
        failure = Failure("report", f"the report cannot be used. {error}")
        return _close_gate(decision, [failure])
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
    check_class_names("evaluate.minimum", list_minimum_classes(config), content.classes)
    if failures := list_failures(config, counts, content.find_metric, content.abstention):
        return _close_gate(decision, failures)
    listing = list_model(store, export.model_name)
    return _decide_by_champion(decision, counts, config, shards, report, listing, scoring)


def _decide_by_champion(
    decision: GateDecision,
    counts: ClassCounts,
    config: EvaluateConfig,
    shards: TokenShards,
    report: Path,
    listing: ModelListing,
    scoring: TestRowScoring,
) -> GateDecision:
    """The decision about a candidate that meets all requirements that concern it alone."""
    accuracy, majority = counts.describe_accuracy(), counts.describe_majority()
    reached = f"{accuracy} reaches min_accuracy {config.min_accuracy:.4f}"
    if config.minimum:
        majority += f"; evaluate.minimum is reached ({', '.join(config.minimum)})"
    version = read_champion(listing)
    if version is None:
        return _open_gate(
            decision, f"{reached}; {majority}; no version of {listing.name} is released yet."
        )
    decision = decision.model_copy(update={"champion_version": version})
    try:
        comparison = compare_with_champion(
            config, decision, listing, version, shards, report, scoring
        )
    except DataError as error:
        sentence = f"the released version {version} cannot be compared with. {error}"
        return _close_gate(decision, [Failure("champion", sentence)])
    differences = comparison.measure_differences()
    decision = decision.model_copy(
        update={
            "champion_accuracy": comparison.champion_accuracy,
            "champion_differences": differences,
        }
    )
    against = _describe_champion(comparison, differences.get("accuracy"))
    is_worse = counts.correct < comparison.champion_correct
    if missed := find_missed_margin(config, comparison, differences.get("accuracy")):
        sentence = (
            f"{accuracy} is worse than {against}."
            if is_worse and config.champion_margin == 0 and config.champion_rule == "difference"
            else f"{accuracy} is compared with {against}: {missed} does not reach champion_margin "
            f"{config.champion_margin:+.4f}."
        )
        return _close_gate(decision, [Failure("champion", sentence)])
    if is_worse:
        against += f", which champion_margin {config.champion_margin:+.4f} allows"
    is_equal = counts.correct == comparison.champion_correct
    relation = "equals" if is_equal else "is worse than" if is_worse else "is better than"
    return _open_gate(decision, f"{reached} and {relation} {against}; {majority}.")


def _describe_champion(comparison: Comparison, accuracy: PairedDifference | None) -> str:
    """The champion's accuracy and, if it was scored, the difference to it."""
    against = (
        f"the {comparison.champion_accuracy:.4f} ({comparison.champion_correct} rows) of the "
        f"released version {comparison.version} on the same rows"
    )
    if accuracy is None:
        return against
    return (
        f"{against} (difference {accuracy.difference:+.4f}, "
        f"95% interval {accuracy.low:+.4f} to {accuracy.high:+.4f})"
    )


def _close_gate(decision: GateDecision, failures: Sequence[Failure]) -> GateDecision:
    first, *others = [failure.sentence for failure in failures]
    reason = " ".join([f"Closed: {first}", *map(_capitalize, others)])
    rules = tuple(failure.rule for failure in failures)
    return decision.model_copy(update={"reason": reason, "failed_rules": rules})


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
