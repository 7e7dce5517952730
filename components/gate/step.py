"""The gate step: decides from a report whether its checkpoint may be released.

A candidate passes if it meets what its kind of task demands (`components.gate.candidates`: the
limits of its metrics, better than what is known without the texts, no class that it never predicts)
and its accuracy, micro-F1 or R2 is not below that of the champion on the same test rows by more
than `evaluate.champion_margin`; equal passes, unless that option demands more. The champion is
pulled and scored on these very rows, so that a change of the test data favours neither; where it
was made from the candidate's own checkpoint, the report has its score.

Whatever leaves a doubt closes the gate: a report that is damaged or unfinished, a score that is not
finite, test rows of one class only, a champion that cannot be loaded or has another task, other
classes or inputs. The decision depends on the model registry, so it is never cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components import progress
from components.artifacts.gate_decision import GateDecision, write_decision
from components.artifacts.report import open_report
from components.artifacts.shard_metadata import check_limits
from components.artifacts.token_shards import TokenShards, open_shards
from components.config.schema import EvaluateConfig, ExportConfig
from components.errors import DataError, MissingArtifactError
from components.gate.candidates import Candidate, Comparison, read_candidate
from components.gate.champion import compare_with_champion, find_missed_margin
from components.gate.requirements import Failure
from components.progress import StepName
from components.registry.champion import read_champion
from components.registry.listing import ModelListing, list_model
from components.scoring.test_rows import TestRowScoring
from components.storage.store import open_store


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
        candidate = read_candidate(opened)
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
            **candidate.fields,
            "test_rows": content.test_rows,
            "report_digest": opened.digest,
            "checkpoint_digest": content.checkpoint_digest,
        }
    )
    check_limits(config, shards.content)
    if failures := candidate.list_failures(config):
        return _close_gate(decision, failures)
    listing = list_model(store, export.model_name)
    return _decide_by_champion(decision, candidate, config, shards, report, listing, scoring)


def _decide_by_champion(
    decision: GateDecision,
    candidate: Candidate,
    config: EvaluateConfig,
    shards: TokenShards,
    report: Path,
    listing: ModelListing,
    scoring: TestRowScoring,
) -> GateDecision:
    """The decision about a candidate that meets all requirements that concern it alone."""
    baseline, reached = candidate.describe_baseline(config), candidate.describe_reached(config)
    if config.minimum:
        baseline += f"; evaluate.minimum is reached ({', '.join(config.minimum)})"
    version = read_champion(listing)
    if version is None:
        return _open_gate(
            decision, f"{reached}; {baseline}; no version of {listing.name} is released yet."
        )
    decision = decision.model_copy(update={"champion_version": version})
    try:
        comparison = compare_with_champion(
            config, decision, candidate, listing, version, shards, report, scoring
        )
    except DataError as error:
        sentence = f"the released version {version} cannot be compared with. {error}"
        return _close_gate(decision, [Failure("champion", sentence)])
    decision = decision.model_copy(
        update={**comparison.fields, "champion_differences": dict(comparison.differences)}
    )
    metric, against = candidate.describe_metric(), _describe_champion(comparison, version)
    is_worse = comparison.order < 0
    if missed := find_missed_margin(config, comparison):
        sentence = (
            f"{metric} is worse than {against}."
            if is_worse and config.champion_margin == 0 and config.champion_rule == "difference"
            else f"{metric} is compared with {against}: {missed} does not reach champion_margin "
            f"{config.champion_margin:+.4f}."
        )
        return _close_gate(decision, [Failure("champion", sentence)])
    if is_worse:
        against += f", which champion_margin {config.champion_margin:+.4f} allows"
    relation = ("equals", "is better than", "is worse than")[comparison.order]
    return _open_gate(decision, f"{reached} and {relation} {against}; {baseline}.")


def _describe_champion(comparison: Comparison, version: int) -> str:
    """The champion's metric and, if it was scored, the difference to it."""
    against = f"the {comparison.champion} of the released version {version} on the same rows"
    if (found := comparison.difference) is None:
        return against
    return (
        f"{against} ({comparison.difference_title} {found.difference:+.4f}, "
        f"95% interval {found.low:+.4f} to {found.high:+.4f})"
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
