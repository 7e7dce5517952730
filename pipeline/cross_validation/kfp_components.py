"""The steps of a cross-validation that no other pipeline has, as KFP components.

What is said in `pipeline.kfp_components` holds here, too. A component has a fixed number of inputs,
and Kubeflow Pipelines has lists of artifacts for its loops only, whose tasks it does not retry: so
there is an input for each fold.
"""

from kfp import dsl

from components.config.environment import ENV_TRAIN_IMAGE
from pipeline.images import DEFAULT_IMAGES

_component = dsl.component(base_image=DEFAULT_IMAGES[ENV_TRAIN_IMAGE], install_kfp_package=False)


@_component
def fold(
    folds: int,
    number: int,
    data: str,
    fingerprint: str,
    shards: dsl.Input[dsl.Dataset],
    fold_shards: dsl.Output[dsl.Dataset],
) -> str:
    """The token shards of one fold of a cross-validation. Returns their URI."""
    from components.step_runtime import parse_section, step_run

    with step_run("fold", fold_shards=fold_shards.path) as figures:
        from pathlib import Path

        from components.config.schema import DataConfig
        from components.cross_validation import fold_step

        content = fold_step.run(
            Path(shards.path),
            folds,
            number,
            Path(fold_shards.path),
            stratify=parse_section(DataConfig, data).stratify,
        )
        figures.update({f"{name}_rows": split.rows for name, split in content.splits.items()})
        fold_shards.metadata.update(figures)
    return str(fold_shards.uri)


@_component
def summarize(
    folds: int,
    summary: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    page: dsl.Output[dsl.HTML],
    report_1: dsl.Input[dsl.Artifact] = None,
    report_2: dsl.Input[dsl.Artifact] = None,
    report_3: dsl.Input[dsl.Artifact] = None,
    report_4: dsl.Input[dsl.Artifact] = None,
    report_5: dsl.Input[dsl.Artifact] = None,
    report_6: dsl.Input[dsl.Artifact] = None,
    report_7: dsl.Input[dsl.Artifact] = None,
    report_8: dsl.Input[dsl.Artifact] = None,
    report_9: dsl.Input[dsl.Artifact] = None,
    report_10: dsl.Input[dsl.Artifact] = None,
    report_11: dsl.Input[dsl.Artifact] = None,
    report_12: dsl.Input[dsl.Artifact] = None,
    report_13: dsl.Input[dsl.Artifact] = None,
    report_14: dsl.Input[dsl.Artifact] = None,
    report_15: dsl.Input[dsl.Artifact] = None,
    report_16: dsl.Input[dsl.Artifact] = None,
    report_17: dsl.Input[dsl.Artifact] = None,
    report_18: dsl.Input[dsl.Artifact] = None,
    report_19: dsl.Input[dsl.Artifact] = None,
    report_20: dsl.Input[dsl.Artifact] = None,
) -> None:
    """The reports of all folds to the summary of the cross-validation."""
    from components.step_runtime import step_run

    with step_run("summarize", summary=summary.path, page=page.path) as figures:
        from pathlib import Path

        from components.artifacts.cross_validation import PAGE_FILENAME, describe_result
        from components.cross_validation import summary_step

        given = (
            report_1,
            report_2,
            report_3,
            report_4,
            report_5,
            report_6,
            report_7,
            report_8,
            report_9,
            report_10,
            report_11,
            report_12,
            report_13,
            report_14,
            report_15,
            report_16,
            report_17,
            report_18,
            report_19,
            report_20,
        )
        reports = [Path(report.path) for report in given if report is not None]
        output = Path(summary.path)
        content = summary_step.run(reports, folds, output)
        figures.update(folds=folds, rows=content.rows, result=describe_result(content))
        for name, each in content.metrics.items():
            metrics.log_metric(name, each.mean)
        Path(page.path).write_bytes((output / PAGE_FILENAME).read_bytes())
        Path(metrics.path).write_text(content.model_dump_json(include={"metrics"}))
