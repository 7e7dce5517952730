"""The export step: a checkpoint that passed the gate -> a release in the model registry."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import progress
from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.gate_decision import GateDecision, read_decision
from components.artifacts.manifest import commit, staged_artifact
from components.artifacts.predictions import read_scores
from components.artifacts.release import ReleaseContent
from components.artifacts.report import MultiLabelReport, Report, ReportContent, open_report
from components.artifacts.token_shards import open_shards
from components.confidence.calibration import apply_temperature
from components.config.environment import ENV_RUN
from components.config.renamed_options import to_stored_names
from components.config.schema import Calibration, ExportConfig
from components.errors import DataError
from components.progress import StepName
from components.registry import PublishedVersion, find_published, publish
from components.registry.starting_point import publish_checkpoint
from components.storage.store import open_store

EXPORT_FORMAT = 3
"""Part of the release key: raised when the same checkpoint would give another release."""


@dataclass(frozen=True)
class _Inputs:
    """What a release is made from: verified artifacts, and shards that are verified when opened."""

    checkpoint: Artifact[CheckpointContent]
    report: Artifact[Report]
    decision: GateDecision
    shards: Path


def run(
    config: ExportConfig, shards: Path, checkpoint: Path, report: Path, decision: Path
) -> PublishedVersion:
    """Export the checkpoint, check that it answers as it was evaluated, and publish it.

    The same checkpoint exported twice is one version. Nothing is published if it raises: DataError
    if the gate is closed or the inputs are damaged or do not belong together; KubertError if the
    exported model's scores differ from the evaluated ones by more than 1e-5 or, in bfloat16, if its
    accuracy (micro-F1, R2) on the test rows is more than 0.3 points lower; ConfigError for a
    precision that the encoder cannot be served in.
    """
    progress.report(StepName.EXPORT, "reading the checkpoint and the report")
    inputs = _open_inputs(shards, checkpoint, report, decision, config.calibrate)
    store = open_store(config.model_store)
    publish_checkpoint(inputs.checkpoint, store, config.model_name)
    report_content = inputs.report.content
    key = compute_release_key(
        config,
        inputs.checkpoint.digest,
        find_threshold(report_content),
        find_temperature(report_content),
        find_thresholds(report_content),
    )
    published = find_published(store, config.model_name, key)
    if published is None:
        with tempfile.TemporaryDirectory(prefix="kubert-export-") as temporary:
            release = _build_release(config, inputs, Path(temporary) / "release")
            progress.report(StepName.EXPORT, f"publishing to {store.uri(config.model_name)}")
            published = publish(release, store, config.model_name, key)
    progress.report(
        StepName.EXPORT,
        _describe_outcome(config.model_name, published),
        version=published.version,
    )
    return published


def find_threshold(report: Report) -> float | None:
    """The threshold of confident answers, if the evaluation chose one."""
    if not isinstance(report, ReportContent):
        return None
    return report.abstention.threshold if report.abstention else None


def find_temperature(report: Report) -> float | None:
    """What the served model's logits are divided by, if the evaluation calibrated the scores."""
    if not isinstance(report, ReportContent):
        return None
    return report.scaling.temperature if report.scaling else None


def find_thresholds(report: Report) -> tuple[float, ...]:
    """The score from which a text is given each class, if it can have several."""
    return report.thresholds if isinstance(report, MultiLabelReport) else ()


def describe_quality(report: Report) -> dict[str, Any]:
    """The fields of a release's content that say how good its model is."""
    if isinstance(report, ReportContent):
        names = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1")
        return {name: getattr(report, name) for name in names}
    undefined = dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "macro_f1"))
    metrics = {
        name: value for name, value in report.scalar_metrics().items() if name != "test_rows"
    }
    return {**undefined, "metrics": metrics}


def compute_release_key(
    config: ExportConfig,
    checkpoint_digest: str,
    threshold: float | None = None,
    temperature: float | None = None,
    thresholds: Sequence[float] = (),
) -> str:
    """SHA-256 (hex) over all that determines the exported model: equal keys are one version."""
    parts = {
        "checkpoint": checkpoint_digest,
        "warmup_requests": config.warmup_requests,
        "format": EXPORT_FORMAT,
    }
    if config.precision != "float32":
        parts["precision"] = config.precision
    if threshold is not None:
        parts["threshold"] = threshold
    if temperature is not None:
        parts["temperature"] = temperature
    if thresholds:
        parts["thresholds"] = [*thresholds]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _open_inputs(
    shards: Path, checkpoint: Path, report: Path, decision: Path, calibrate: Calibration
) -> _Inputs:
    """Open the inputs; DataError if the gate is closed or they are not about one checkpoint."""
    opened_checkpoint = open_checkpoint(checkpoint)
    gate_decision = read_decision(decision)
    if not gate_decision.passed:
        raise DataError(
            f"{decision}: the gate is closed, nothing is released. {gate_decision.reason}"
        )
    opened_report = open_report(report)
    if gate_decision.report_digest != opened_report.digest:
        raise DataError(
            f"{decision}: decides about another report than {report}; run the gate again"
        )
    evaluated = {opened_report.content.checkpoint_digest, gate_decision.checkpoint_digest}
    if evaluated != {opened_checkpoint.digest}:
        raise DataError(f"{report}: is about another checkpoint; evaluate this one first")
    calibrated = isinstance(opened_report.content, ReportContent) and opened_report.content.scaling
    if (calibrate == "none") != (not calibrated):
        raise DataError(
            f"{report}: was not made with export.calibrate={calibrate}; run the evaluation again"
        )
    return _Inputs(opened_checkpoint, opened_report, gate_decision, shards)


def _build_release(config: ExportConfig, inputs: _Inputs, output: Path) -> Artifact[ReleaseContent]:
    """Build the release in `output` and check its scores against the evaluated ones."""
    # Imported here because a checkpoint that was released before needs no TensorFlow.
    from components.export.parity import (
        PARITY_ROWS,
        check_confident_answers,
        check_predicted_labels,
        check_probe_texts,
        check_test_rows,
        list_probes,
        select_rows_by_length,
    )
    from components.export.served_quality import QualityMeter
    from components.export.warmup import write_warmup_requests
    from components.model.restore import load_classifier
    from components.model.serving_model import ServingModel, load_scorer, save_serving_model

    report = inputs.report
    shards = open_shards(inputs.shards)
    if shards.digest != report.content.shards_digest:
        raise DataError(
            f"{report.directory}: is about other data than {inputs.shards}; "
            "evaluate on these shards first"
        )
    classifier, trained, vocabulary = load_classifier(inputs.checkpoint)
    length, names, task = trained.model.max_length, trained.inputs, trained.task
    thresholds = find_thresholds(report.content)
    reading = trained.model.long_text_reading
    threshold, temperature = find_threshold(report.content), find_temperature(report.content)

    def read_evaluated(rows: Any) -> Any:
        return apply_temperature(read_scores(report.directory, rows), temperature)

    with staged_artifact(output) as directory:
        progress.report(StepName.EXPORT, "building the model to be served")
        save_serving_model(
            ServingModel(
                classifier,
                vocabulary,
                trained.classes,
                length,
                config.precision,
                threshold,
                temperature,
                names,
                reading,
                task,
                thresholds,
            ),
            directory,
        )
        words = 2 * length if reading.has_windows else length
        write_warmup_requests(directory, config.model_name, config.warmup_requests, words, names)
        progress.report(StepName.EXPORT, "comparing its scores with the evaluated ones")
        scorer = load_scorer(directory, names, task.kind)
        test_rows, meter = shards.open_split("test"), QualityMeter(task, thresholds)
        parity = check_test_rows(scorer, test_rows, read_evaluated, config.precision, meter)
        has_pairs = len(names) > 1
        check_probe_texts(
            scorer,
            classifier,
            vocabulary,
            length,
            config.precision,
            temperature,
            has_pairs=has_pairs,
            long_texts=reading,
            task=task,
        )
        if threshold is not None or thresholds:
            rows = select_rows_by_length(test_rows.read_lengths(), PARITY_ROWS)
            texts = [*test_rows.read_texts(rows), *list_probes(has_pairs=has_pairs)]
            if threshold is not None:
                check_confident_answers(scorer.compute_outputs, texts, threshold)
            else:
                classes = trained.classes
                check_predicted_labels(scorer.compute_outputs, texts, classes, thresholds)
        content = ReleaseContent(
            classes=trained.classes,
            encoder=trained.model.encoder,
            max_length=length,
            long_texts=reading,
            **describe_quality(report.content),
            test_rows=report.content.test_rows,
            gate=inputs.decision.model_dump(mode="json"),
            precision=config.precision,
            served_accuracy=parity.metrics.get("accuracy"),
            served_metrics={} if task.kind == "single_label" else parity.metrics,
            parity_rows=parity.rows,
            parity_difference=parity.difference,
            start_from=trained.start_from,
            threshold=threshold,
            temperature=temperature,
            inputs=names,
            task=task,
            thresholds=thresholds,
        )
        manifest = commit(
            directory,
            "release",
            content=content.model_dump(mode="json"),
            inputs=_list_inputs(report),
            config=_select_public_options(config),
            provenance={
                "released": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "run": os.environ.get(ENV_RUN, ""),
            },
        )
    return Artifact(output, manifest, content)


def _list_inputs(report: Artifact[Report]) -> dict[str, str]:
    return {
        "data": report.content.source_sha256,
        "shards": report.content.shards_digest,
        "checkpoint": report.content.checkpoint_digest,
        "report": report.digest,
    }


def _select_public_options(config: ExportConfig) -> dict[str, Any]:
    """The options that describe the release, without the registry's URI: releases are shared."""
    return to_stored_names("export", config.model_dump(mode="json", exclude={"model_store"}))


def _describe_outcome(name: str, published: PublishedVersion) -> str:
    outcome = "released" if published.created else "already released"
    return f"{outcome}: {name} version {published.version} at {published.uri}"
