"""The export verb: a checkpoint that passed the gate -> a release in the model store."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import progress
from components.artifacts import manifest, release
from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.gate_decision import GateDecision, read_decision
from components.artifacts.predictions import read_predictions
from components.artifacts.release import PublishedVersion, ReleaseContent
from components.artifacts.report import ReportContent, open_report
from components.artifacts.token_shards import open_shards
from components.config.environment import ENV_RUN
from components.config.schema import ExportConfig
from components.errors import DataError
from components.progress import StepName
from components.storage.store import open_store

FORMAT = 2


@dataclass(frozen=True)
class ExportResult:
    """A version in the model store; `path` is its directory or URI, `created` is false if the checkpoint had been released before."""

    version: int
    path: str
    created: bool


def run(
    config: ExportConfig, shards: Path, checkpoint: Path, report: Path, decision: Path
) -> ExportResult:
    """Export the checkpoint, check that it answers as it was evaluated, and publish it.

    The same checkpoint released twice is one version. Nothing is published, and DataError raised, if the gate is closed,
    or the inputs are damaged or do not belong together; KubertError if the exported model's scores are not the
    evaluator's to 1e-5, or, in bfloat16, its accuracy on the test rows is more than 0.3 points below the evaluated one; ConfigError
    for a precision that the encoder cannot be served in.
    """
    progress.report(StepName.EXPORT, "reading the checkpoint and the report")
    trained = open_checkpoint(checkpoint)
    evaluated, passed = _evidence(report, decision, trained.digest)
    store = open_store(config.model_store)
    key = compute_release_key(config, trained.digest)
    published = release.find_published(store, config.model_name, key)
    if published is None:
        with tempfile.TemporaryDirectory(prefix="kubert-export-") as temporary:
            directory = Path(temporary) / "release"
            _build(config, shards, trained, evaluated, passed, directory)
            progress.report(StepName.EXPORT, f"publishing to {store.uri(config.model_name)}")
            published = release.publish(directory, store, config.model_name, key)
    progress.report(
        StepName.EXPORT, _outcome(config.model_name, published), version=published.version
    )
    return ExportResult(published.version, published.uri, published.created)


def compute_release_key(config: ExportConfig, checkpoint_digest: str) -> str:
    """SHA-256 (hex) over the checkpoint and what else determines the exported model: equal keys are one version."""
    parts = {
        "checkpoint": checkpoint_digest,
        "warmup_requests": config.warmup_requests,
        "format": FORMAT,
    }
    if config.precision != "float32":
        parts["precision"] = config.precision
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _evidence(
    report: Path, decision: Path, checkpoint_digest: str
) -> tuple[Artifact[ReportContent], GateDecision]:
    """The report and the gate's decision, if they are about this checkpoint and the gate is open."""
    passed = read_decision(decision)
    if not passed.passed:
        raise DataError(f"{decision}: the gate is closed, nothing is released. {passed.reason}")
    evaluated = open_report(report)
    if passed.report_digest != evaluated.digest:
        raise DataError(
            f"{decision}: decides about another report than {report}; run the gate again"
        )
    if {evaluated.content.checkpoint_digest, passed.checkpoint_digest} != {checkpoint_digest}:
        raise DataError(f"{report}: is about another checkpoint; evaluate this one first")
    return evaluated, passed


def _build(
    config: ExportConfig,
    shards: Path,
    checkpoint: Artifact[CheckpointContent],
    report: Artifact[ReportContent],
    passed: GateDecision,
    output: Path,
) -> None:
    # TensorFlow is loaded here because a checkpoint that was released before needs none.
    from components.export.parity import check_probe_texts, check_test_rows
    from components.export.warmup import write_warmup_requests
    from components.model.restore import load_classifier
    from components.model.serving_model import ServingModel, load_scorer, save_serving_model

    evaluated = report.content
    opened = open_shards(shards)
    if opened.digest != evaluated.shards_digest:
        raise DataError(
            f"{report.directory}: is about other data than {shards}; evaluate on these shards first"
        )
    classifier, content, vocabulary = load_classifier(checkpoint)
    length = content.model.max_length
    with manifest.staged_artifact(output) as directory:
        progress.report(StepName.EXPORT, "building the model to be served")
        save_serving_model(
            ServingModel(classifier, vocabulary, content.classes, length, config.precision),
            directory,
        )
        write_warmup_requests(directory, config.model_name, config.warmup_requests, length)
        progress.report(StepName.EXPORT, "comparing its scores with the evaluated ones")
        scorer = load_scorer(directory)
        parity = check_test_rows(
            scorer,
            opened.open_split("test"),
            read_predictions(report.directory).scores,
            config.precision,
        )
        check_probe_texts(scorer, classifier, vocabulary, length, config.precision)
        described = ReleaseContent(
            classes=content.classes,
            encoder=content.model.encoder,
            max_length=length,
            accuracy=evaluated.accuracy,
            accuracy_low=evaluated.accuracy_low,
            accuracy_high=evaluated.accuracy_high,
            macro_f1=evaluated.macro_f1,
            test_rows=evaluated.test_rows,
            gate=passed.model_dump(mode="json"),
            precision=config.precision,
            served_accuracy=parity.accuracy,
            parity_rows=parity.rows,
            parity_difference=parity.difference,
        )
        manifest.commit(
            directory,
            "release",
            content=described.model_dump(mode="json"),
            inputs=_inputs(evaluated, passed),
            config=_public(config),
            provenance={
                "released": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "run": os.environ.get(ENV_RUN, ""),
            },
        )


def _inputs(evaluated: ReportContent, passed: GateDecision) -> dict[str, str]:
    return {
        "data": evaluated.source_sha256,
        "shards": evaluated.shards_digest,
        "checkpoint": evaluated.checkpoint_digest,
        "report": passed.report_digest,
    }


def _public(config: ExportConfig) -> dict[str, Any]:
    """The options that say something about the release; where the store is does not belong into what is given away."""
    return config.model_dump(mode="json", exclude={"model_store"})


def _outcome(name: str, published: PublishedVersion) -> str:
    return f"{'released' if published.created else 'already released'}: {name} version {published.version} at {published.uri}"
