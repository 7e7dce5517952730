"""The steps as KFP components: each parses its options, calls its step's `run` and reports figures.

KFP copies a component's source into the compiled pipeline, so everything it needs is imported
inside it, and its annotations must be objects (no `from __future__ import annotations` in this
file). Metrics are also written as files, because a finished step is only reused if each of its
outputs has a file.
"""

from kfp import dsl

from components.config.environment import ENV_TRAIN_IMAGE
from pipeline.images import DEFAULT_IMAGES

# On a cluster `pipeline.pod_settings` names the image; on this machine none is used.
_component = dsl.component(base_image=DEFAULT_IMAGES[ENV_TRAIN_IMAGE], install_kfp_package=False)


@_component
def tokenize(
    source: str,
    test_source: str,
    end_time: str,
    encoder: str,
    task: str,
    data: str,
    model: str,
    tokenize: str,
    fingerprint: str,
    shards: dsl.Output[dsl.Dataset],
) -> str:
    """Raw text to token shards. Returns their URI, for a launcher that does not download them."""
    from components.step_runtime import end_time_or_none, parse_section, step_run

    with step_run("tokenize", shards=shards.path) as figures:
        from pathlib import Path

        from components.config.schema import DataConfig, ModelConfig, TaskConfig, TokenizeConfig
        from components.tokenize_text import step

        data_config = parse_section(
            DataConfig,
            data,
            source=source,
            test_source=test_source or None,
            end_time=end_time_or_none(end_time),
        )
        content = step.run(
            data_config,
            parse_section(ModelConfig, model, encoder=encoder),
            parse_section(TokenizeConfig, tokenize),
            Path(shards.path),
            parse_section(TaskConfig, task),
        )
        figures.update({f"{name}_rows": split.rows for name, split in content.splits.items()})
        if (found := content.long_text_counts) is not None:
            figures.update(
                longer_texts=found.longer, cut_texts=found.cut, lost_share=found.lost_share
            )
        shards.metadata.update(figures)
    return str(shards.uri)


@_component
def train(
    encoder: str,
    freeze: bool,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    workers: int,
    seed: int,
    model: str,
    train: str,
    minimum_classes: str,
    cluster: str,
    fingerprint: str,
    scratch: str,
    shards: str,
    checkpoint: dsl.Output[dsl.Model],
    logs: dsl.Output[dsl.Artifact],
) -> None:
    """Token shards to a checkpoint: fine-tune on all workers; `logs` are for TensorBoard."""
    from components.step_runtime import default_state_uri, parse_section, step_run

    with step_run("train", checkpoint=checkpoint.path, logs=logs.path) as figures:
        import json
        import shutil
        from pathlib import Path

        from components.config.cluster import ClusterConfig
        from components.config.schema import ModelConfig, TrainConfig
        from components.train import step

        options = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "workers": workers,
            "seed": seed,
        }
        model_config = parse_section(ModelConfig, model, encoder=encoder, freeze=freeze)
        cluster_config, output = parse_section(ClusterConfig, cluster), Path(checkpoint.path)
        state = scratch or default_state_uri(cluster_config, output, checkpoint.uri)
        trained = step.run(
            model_config,
            parse_section(TrainConfig, train, **options),
            shards,
            output,
            state,
            cluster_config,
            json.loads(minimum_classes or "[]"),
        )
        figures.update(steps=trained.steps, examples_per_second=trained.train_examples_per_second)
        shutil.copytree(output / "tensorboard", logs.path, dirs_exist_ok=True)


@_component
def evaluate(
    min_accuracy: float,
    workers: int,
    calibrate: str,
    evaluate: str,
    cluster: str,
    fingerprint: str,
    scratch: str,
    shards: dsl.Input[dsl.Dataset],
    checkpoint: dsl.Input[dsl.Model],
    report: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
    page: dsl.Output[dsl.HTML],
) -> None:
    """A checkpoint to a report on the test rows, with the figures that KFP shows."""
    from components.step_runtime import default_state_uri, parse_section, step_run

    with step_run("evaluate", report=report.path, page=page.path) as figures:
        from pathlib import Path

        from components.artifacts.report import (
            MAX_KFP_CLASSES,
            ReportContent,
            read_framed_page,
        )
        from components.config.cluster import ClusterConfig
        from components.config.schema import EvaluateConfig, ExportConfig
        from components.evaluate import step
        from components.scoring.test_rows import TestRowScoring

        thresholds = parse_section(EvaluateConfig, evaluate, min_accuracy=min_accuracy)
        cluster_config, output = parse_section(ClusterConfig, cluster), Path(report.path)
        scoring = TestRowScoring(
            state=scratch or default_state_uri(cluster_config, output, report.uri),
            cluster=cluster_config,
            max_workers=workers,
            shards_uri=shards.uri,
            checkpoint_uri=checkpoint.uri,
        )
        scaling = parse_section(ExportConfig, "{}", calibrate=calibrate).calibrate
        content = step.run(
            thresholds, Path(shards.path), Path(checkpoint.path), output, scoring, scaling
        )
        scalars = content.scalar_metrics()
        main = {name: scalars[name] for name in scalars if name == content.main_metric}
        figures.update(main, test_rows=content.test_rows)
        for name, value in scalars.items():
            metrics.log_metric(name, value)
        if isinstance(content, ReportContent) and len(content.classes) <= MAX_KFP_CLASSES:
            classification.log_confusion_matrix(
                list(content.classes), [list(row) for row in content.confusion]
            )
        if (curve := content.pooled_curve) is not None:
            classification.log_roc_curve(list(curve.fpr), list(curve.tpr), list(curve.thresholds))
        Path(page.path).write_text(read_framed_page(output), encoding="utf-8")
        for artifact in (metrics, classification):
            Path(artifact.path).write_text(
                content.model_dump_json(include={content.main_metric, "macro_f1"})
            )


@_component
def gate(
    min_accuracy: float,
    workers: int,
    model_store: str,
    model_name: str,
    evaluate: str,
    export: str,
    cluster: str,
    scratch: str,
    shards: dsl.Input[dsl.Dataset],
    report: dsl.Input[dsl.Artifact],
    decision: dsl.Output[dsl.Artifact],
) -> bool:
    """Whether the candidate may be released: good enough, and not worse than the champion."""
    from components.step_runtime import default_state_uri, parse_section, step_run

    with step_run("gate", decision=decision.path) as figures:
        from pathlib import Path

        from components.config.cluster import ClusterConfig
        from components.config.schema import EvaluateConfig, ExportConfig
        from components.gate import step as gate
        from components.scoring.test_rows import TestRowScoring

        thresholds = parse_section(EvaluateConfig, evaluate, min_accuracy=min_accuracy)
        target = parse_section(ExportConfig, export, model_store=model_store, model_name=model_name)
        cluster_config, output = parse_section(ClusterConfig, cluster), Path(decision.path)
        scoring = TestRowScoring(
            state=scratch or default_state_uri(cluster_config, output, decision.uri),
            cluster=cluster_config,
            max_workers=workers,
            shards_uri=shards.uri,
        )
        result = gate.run(thresholds, target, Path(shards.path), Path(report.path), output, scoring)
        figures.update(
            passed=result.passed, reason=result.reason, failed_rules=list(result.failed_rules)
        )
    return bool(result.passed)


@_component
def export(
    calibrate: str,
    model_store: str,
    model_name: str,
    export: str,
    shards: dsl.Input[dsl.Dataset],
    checkpoint: dsl.Input[dsl.Model],
    report: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
) -> str:
    """A checkpoint to a release in the model registry; returns its path. Idempotent."""
    from components.step_runtime import parse_section, step_run

    with step_run("export") as figures:
        from pathlib import Path

        from components.config.schema import ExportConfig
        from components.export import step

        target = parse_section(
            ExportConfig,
            export,
            calibrate=calibrate,
            model_store=model_store,
            model_name=model_name,
        )
        release = step.run(
            target, Path(shards.path), Path(checkpoint.path), Path(report.path), Path(decision.path)
        )
        figures.update(release=release.uri, version=release.version)
    return release.uri


@_component
def resolve(release: str, target: str, end_time: str) -> str:
    """A model reference to the URI of one version, which all attempts to score use."""
    from components.step_runtime import end_time_or_none, step_run

    with step_run("resolve") as figures:
        from components.batch_prediction.pinned_release import pin_release
        from components.data.time_window import fill_date

        to = fill_date(target, end_time_or_none(end_time), "score.to")
        uri = pin_release(release, to)
        figures.update(release=uri)
    return uri


@_component
def score(
    release: str,
    source: str,
    target: str,
    end_time: str,
    format: str,
    workers: int,
    data: str,
    score: str,
    cluster: str,
) -> str:
    """A source through the release, into a file at the target. Returns its URI. Idempotent."""
    from components.step_runtime import end_time_or_none, parse_section, step_run

    with step_run("score") as figures:
        from components.batch_prediction import step
        from components.batch_prediction.request import BatchPredictionRequest
        from components.config.cluster import ClusterConfig
        from components.config.schema import DataConfig, ScoreConfig
        from components.data.time_window import fill_date

        time = end_time_or_none(end_time)
        options = parse_section(ScoreConfig, score, workers=workers, format=format)
        request = BatchPredictionRequest(
            release=release,
            data=parse_section(DataConfig, data, source=source, end_time=time),
            to=fill_date(target, time, "score.to"),
            format=options.format,
            keep=options.keep,
            all_scores=options.all_scores,
            embeddings=options.embeddings,
            separator=options.separator,
            workers=options.workers,
        )
        output = step.run(request, parse_section(ClusterConfig, cluster))
        figures.update(output=output.uri, rows=output.content.rows, created=output.created)
    return str(output.uri)
