"""`kubert compile`: the pipeline as a package for a Kubeflow Pipelines server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.errors import UsageError
from pipeline.cli.options import (
    DEFAULT_CONFIG,
    Assignments,
    ConfigName,
    Folds,
    ParallelFolds,
    PipelineName,
)


def compile_pipeline(
    config: ConfigName = DEFAULT_CONFIG,
    output: Annotated[Path, typer.Option("--output", "-o", help="The YAML file to write.")] = Path(
        "pipeline.yaml"
    ),
    assignments: Assignments = None,
    *,
    pipeline: Annotated[
        PipelineName,
        typer.Option(help="train: the whole pipeline. score: kubert-score, for `kubert score`."),
    ] = PipelineName.TRAIN,
    folds: Folds = None,
    parallel: ParallelFolds = None,
) -> None:
    """Compile a pipeline to YAML for a Kubeflow Pipelines server.

    The values of the configuration become the defaults of the pipeline's parameters.
    """
    from pipeline import definition, images, parameters, presets, scoring_definition
    from pipeline.cross_validation import definition as folds_definition
    from pipeline.cross_validation.options import (
        check_fold_options,
        prepare_fold_config,
        refuse_parallel_without_folds,
    )
    from pipeline.kubeflow.submission import find_scored_release

    refuse_parallel_without_folds(folds, parallel)
    settings = presets.load_preset(config, assignments)
    settings = settings.model_copy(update={"cluster": images.resolve_images(settings.cluster)})
    _check_output(output)
    if folds is not None:
        if pipeline is PipelineName.SCORE:
            raise UsageError("--folds: a cross-validation trains; leave out --pipeline score")
        check_fold_options(settings, folds, parallel)
        settings = prepare_fold_config(settings)
        folds_definition.compile_pipeline(
            output,
            parameters.build_arguments(settings, parameters.build_fold_layout(folds)),
            folds=folds,
            cluster=settings.cluster,
            workers=settings.train.workers,
            parallel=parallel,
        )
    elif pipeline is PipelineName.SCORE:
        score = settings.score.model_copy(update={"release": find_scored_release(settings)})
        settings = settings.model_copy(update={"score": score})
        arguments = parameters.build_arguments(settings, parameters.SCORING)
        scoring_definition.compile_pipeline(output, arguments, settings.cluster)
    else:
        arguments = parameters.build_arguments(settings)
        definition.compile_pipeline(output, arguments, settings.cluster, settings.train.workers)
    typer.echo(f"wrote {output}")


def _check_output(output: Path) -> None:
    has_directory = output.absolute().parent.is_dir() and not output.is_dir()
    if not has_directory or output.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--output {output}: must be a .yaml file in a directory that exists")
