"""The Kubeflow pipeline of batch prediction: resolve the release, then score."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from components.config.cluster import ClusterConfig
from pipeline import kfp_components, parameters, pod_settings
from pipeline.definition import create_pipeline

PIPELINE_NAME = "kubert-score"
DESCRIPTION = "Texts through a released classifier, into one file."


def build_pipeline(cluster: ClusterConfig | None = None, *, scheduled: bool = False) -> Any:
    """The pipeline; for a cluster, with the settings of each step's pod.

    `cluster` names the images (`images.resolve_images`). If `scheduled`, {date} is the day that the
    run was scheduled for. No step is cached: each asks the target what is done.
    """

    def run_steps(*values: Any) -> None:
        arguments = dict(zip(parameters.default_arguments(parameters.SCORING), values, strict=True))
        if scheduled:
            arguments["end_time"] = dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER
        resolve = kfp_components.resolve(
            **{name: arguments[name] for name in kfp_components.resolve.component_spec.inputs}
        )
        inputs = kfp_components.score.component_spec.inputs.keys() - {"release"}
        score = kfp_components.score(
            release=resolve.output, **{name: arguments[name] for name in inputs}
        )
        for task in (resolve, score):
            task.set_caching_options(enable_caching=False)
        if cluster is not None:
            pod_settings.configure_light_step(resolve, cluster)
            pod_settings.configure_scoring(score, cluster)

    return create_pipeline(PIPELINE_NAME, DESCRIPTION, parameters.SCORING, run_steps)


def compile_pipeline(
    path: Path,
    values: Mapping[str, Any] | None = None,
    cluster: ClusterConfig | None = None,
    *,
    scheduled: bool = False,
) -> None:
    """Compile the pipeline into a YAML file, with `values` as its parameters' defaults.

    The other arguments are those of `build_pipeline`.
    """
    compiler.Compiler().compile(
        build_pipeline(cluster, scheduled=scheduled),
        str(path),
        pipeline_parameters=dict(values or {}),
    )
