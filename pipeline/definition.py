"""The Kubeflow pipeline, top to bottom: tokenize, train, evaluate, gate, export."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from components.config.cluster import ClusterConfig
from pipeline import kfp_components, parameters, pod_settings

PIPELINE_NAME = "kubert"
DESCRIPTION = "Labelled text to a verified, servable BERT classifier."


def build_pipeline(
    cluster: ClusterConfig | None = None, workers: int = 1, *, scheduled: bool = False
) -> Any:
    """The pipeline; for a cluster, with the settings of each step's pod.

    `cluster` names the images (`images.resolve_images`); `workers` is train.workers, which decides
    how many GPUs the training step's pod has if it runs the workers itself. If `scheduled`, the
    data end at the time that the run was scheduled for. KFP passes it only to a step's input that
    is exactly its placeholder.
    """

    def run_steps(*values: Any) -> None:
        arguments = dict(zip(parameters.default_arguments(), values, strict=True))
        if scheduled:
            arguments["end_time"] = dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER

        def create_task(component: Any, **artifacts: Any) -> Any:
            """The step's task; its other inputs are the pipeline parameters of their names."""
            inputs = component.component_spec.inputs.keys() - artifacts.keys()
            return component(**{name: arguments[name] for name in inputs}, **artifacts)

        tokenize = create_task(kfp_components.tokenize)
        shards = tokenize.outputs["shards"]
        train = create_task(kfp_components.train, shards=tokenize.outputs["Output"])
        checkpoint = train.outputs["checkpoint"]
        evaluate = create_task(kfp_components.evaluate, shards=shards, checkpoint=checkpoint)
        report = evaluate.outputs["report"]
        gate = create_task(kfp_components.gate, shards=shards, report=report)
        gate.set_caching_options(enable_caching=False)
        # The gate's single return value: kfp.local silently skips a condition on a named output.
        with dsl.If(gate.outputs["Output"] == True, name="released"):  # noqa: E712
            export = create_task(
                kfp_components.export,
                shards=shards,
                checkpoint=checkpoint,
                report=report,
                decision=gate.outputs["decision"],
            )
            export.set_caching_options(enable_caching=False)

        if cluster is not None:
            pod_settings.configure_step(tokenize, cluster)
            pod_settings.configure_step(gate, cluster, launches_workers=True)
            gpus = {name: int(name in cluster.gpu_steps) for name in ("evaluate", "export")}
            pod_settings.configure_step(
                evaluate, cluster, gpus=gpus["evaluate"], launches_workers=True
            )
            pod_settings.configure_step(export, cluster, gpus=gpus["export"])
            pod_settings.configure_training(train, cluster, workers)

    return create_pipeline(PIPELINE_NAME, DESCRIPTION, parameters.TRAINING, run_steps)


def compile_pipeline(
    path: Path,
    values: Mapping[str, Any] | None = None,
    cluster: ClusterConfig | None = None,
    workers: int = 1,
    *,
    scheduled: bool = False,
) -> None:
    """Compile the pipeline into a YAML file, with `values` as its parameters' defaults.

    `cluster`, `workers` and `scheduled` are those of `build_pipeline`. The same sources and values
    give the same bytes, and nothing of this machine or its environment is in them.
    """
    compiler.Compiler().compile(
        build_pipeline(cluster, workers, scheduled=scheduled),
        str(path),
        pipeline_parameters=dict(values or {}),
    )


def create_pipeline(
    name: str,
    description: str,
    layout: parameters.ParameterLayout,
    run_steps: Callable[..., None],
) -> Any:
    """The pipeline of a function that creates the tasks; its parameters are those of `layout`."""
    run_steps.__signature__ = _build_signature(layout)  # type: ignore[attr-defined]
    run_steps.__doc__ = _build_docstring(description, layout)
    return dsl.pipeline(name=name, description=description)(run_steps)


def _build_signature(layout: parameters.ParameterLayout) -> inspect.Signature:
    """What KFP reads the pipeline's parameters from: names, types and defaults of `parameters`."""
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=default,
                annotation=type(default),
            )
            for name, default in parameters.default_arguments(layout).items()
        ],
        return_annotation=None,
    )


def _build_docstring(description: str, layout: parameters.ParameterLayout) -> str:
    """What KFP reads the parameters' descriptions from."""
    described = parameters.describe_parameters(layout)
    lines = (f"    {name}: {text}" for name, text in described.items())
    return "\n".join([description, "", "Args:", *lines])
