"""The Kubeflow pipeline of a cross-validation: tokenize once, then each fold, then the summary.

The tasks of a fold are tasks of their own and not iterations of a loop: Kubeflow Pipelines does not
retry the tasks of its loops, and runs two of them at a time at most on one machine.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kfp import compiler

from components.config.cluster import ClusterConfig
from pipeline import kfp_components, parameters, pod_settings
from pipeline.cross_validation import kfp_components as fold_components
from pipeline.cross_validation.task_names import name_fold_task
from pipeline.definition import create_pipeline

PIPELINE_NAME = "kubert-folds"
DESCRIPTION = "Cross-validation: one model per fold, and the summary of their evaluations."


def build_pipeline(
    folds: int,
    cluster: ClusterConfig | None = None,
    workers: int = 1,
    *,
    parallel: int | None = None,
    only: Collection[int] | None = None,
) -> Any:
    """The pipeline; for a cluster, with the settings of each step's pod.

    `cluster` and `workers` are those of `pipeline.definition.build_pipeline`. At most `parallel`
    folds are computed at a time (None: all of them). With `only`, the pipeline has these folds and
    no summary; the tasks that it has are those of the whole pipeline.
    """

    layout = parameters.build_fold_layout(folds)
    numbers = range(1, folds + 1) if only is None else sorted(only)

    def run_steps(*values: Any) -> None:
        arguments = dict(zip(parameters.default_arguments(layout), values, strict=True))

        def create_task(component: Any, **given: Any) -> Any:
            inputs = component.component_spec.inputs.keys() & arguments.keys() - given.keys()
            return component(**{name: arguments[name] for name in inputs}, **given)

        tokenize = create_task(kfp_components.tokenize)
        tasks = {"tokenize": tokenize}
        reports: dict[str, Any] = {}
        evaluations: list[Any] = []
        for index, number in enumerate(numbers):
            fold = create_task(
                _rename(fold_components.fold, name_fold_task("fold", number)),
                number=number,
                shards=tokenize.outputs["shards"],
            )
            if parallel is not None and index >= parallel:
                fold.after(evaluations[index - parallel])
            train = create_task(
                _rename(kfp_components.train, name_fold_task("train", number)),
                shards=fold.outputs["Output"],
            )
            evaluate = create_task(
                _rename(kfp_components.evaluate, name_fold_task("evaluate", number)),
                shards=fold.outputs["fold_shards"],
                checkpoint=train.outputs["checkpoint"],
            )
            evaluations.append(evaluate)
            reports[f"report_{number}"] = evaluate.outputs["report"]
            if cluster is not None:
                pod_settings.configure_step(fold, cluster)
                pod_settings.configure_training(train, cluster, workers)
                gpus = int("evaluate" in cluster.gpu_steps)
                pod_settings.configure_step(evaluate, cluster, gpus=gpus, launches_workers=True)
        if only is None:
            tasks["summarize"] = create_task(fold_components.summarize, **reports)
        if cluster is not None:
            for task in tasks.values():
                pod_settings.configure_step(task, cluster)

    return create_pipeline(PIPELINE_NAME, DESCRIPTION, layout, run_steps)


def compile_pipeline(
    path: Path,
    values: Mapping[str, Any] | None = None,
    *,
    folds: int,
    cluster: ClusterConfig | None = None,
    workers: int = 1,
    parallel: int | None = None,
    only: Collection[int] | None = None,
) -> None:
    """Compile the pipeline into a YAML file, with `values` as its parameters' defaults.

    The other arguments are those of `build_pipeline`.
    """
    compiler.Compiler().compile(
        build_pipeline(folds, cluster, workers, parallel=parallel, only=only),
        str(path),
        pipeline_parameters=dict(values or {}),
    )


def _rename(component: Any, name: str) -> Any:
    """The component under another name, which its task, and what it makes, then has.

    Without it tasks are numbered in the order of their creation, and the same fold would have
    another name in a pipeline with fewer folds.
    """
    renamed = copy.copy(component)
    renamed.component_spec = replace(component.component_spec, name=name)
    return renamed
