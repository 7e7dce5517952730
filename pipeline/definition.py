"""The flow, top to bottom: raw text, token shards, checkpoint, report, gate, release."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from components.config.cluster import ClusterConfig
from pipeline import kfp_components, parameters, pod_settings

PIPELINE_NAME = "kubert"
_default = parameters.default_arguments()


def build_pipeline(place: ClusterConfig | None = None, *, scheduled: bool = False) -> Any:
    """The pipeline; for a cluster, with what each pod needs there. `place` names both images (`images.resolved`).

    `scheduled`: the data end at the slot of the run's schedule. KFP tells it only to a step's own input that is exactly its placeholder.
    """

    def flow(
        source: str = _default["source"],
        test_source: str = _default["test_source"],
        end_time: str = _default["end_time"],
        encoder: str = _default["encoder"],
        freeze: bool = _default["freeze"],
        epochs: int = _default["epochs"],
        batch_size: int = _default["batch_size"],
        learning_rate: float = _default["learning_rate"],
        workers: int = _default["workers"],
        seed: int = _default["seed"],
        min_accuracy: float = _default["min_accuracy"],
        model_store: str = _default["model_store"],
        model_name: str = _default["model_name"],
        data: str = _default["data"],
        model: str = _default["model"],
        tokenize: str = _default["tokenize"],
        train: str = _default["train"],
        evaluate: str = _default["evaluate"],
        export: str = _default["export"],
        cluster: str = _default["cluster"],
        fingerprint: str = "",
        scratch: str = "",
    ) -> None:
        tokenized = kfp_components.tokenize(
            source=source,
            test_source=test_source,
            end_time=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER if scheduled else end_time,
            encoder=encoder,
            data=data,
            model=model,
            tokenize=tokenize,
            fingerprint=fingerprint,
        )
        shards = tokenized.outputs["shards"]
        trained = kfp_components.train(
            encoder=encoder, freeze=freeze, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, workers=workers, seed=seed,
            model=model, train=train, cluster=cluster, fingerprint=fingerprint, scratch=scratch, shards=tokenized.outputs["Output"],
        )  # fmt: skip
        checkpoint = trained.outputs["checkpoint"]
        evaluated = kfp_components.evaluate(
            min_accuracy=min_accuracy,
            evaluate=evaluate,
            fingerprint=fingerprint,
            shards=shards,
            checkpoint=checkpoint,
        )
        report = evaluated.outputs["report"]

        target = {"model_store": model_store, "model_name": model_name, "export": export}
        decided = kfp_components.gate(
            min_accuracy=min_accuracy, evaluate=evaluate, shards=shards, report=report, **target
        )
        decided.set_caching_options(enable_caching=False)
        # The gate's single return value: kfp.local skips a condition on a named output without a word.
        with dsl.If(decided.outputs["Output"] == True, name="released"):  # noqa: E712
            released = kfp_components.export(
                shards=shards,
                checkpoint=checkpoint,
                report=report,
                decision=decided.outputs["decision"],
                **target,
            )
            released.set_caching_options(enable_caching=False)

        if place is not None:
            for task in (tokenized, evaluated, decided, released):
                pod_settings.configure_step(task, place)
            pod_settings.configure_training(trained, place)

    flow.__doc__ = "Labelled text to a served classifier.\n\nArgs:\n" + "\n".join(
        f"    {name}: {text}" for name, text in parameters.describe_parameters().items()
    )
    return dsl.pipeline(
        name=PIPELINE_NAME, description="Labelled text to a verified, servable BERT classifier."
    )(flow)


def compile_pipeline(
    path: Path,
    values: Mapping[str, Any] | None = None,
    place: ClusterConfig | None = None,
    *,
    scheduled: bool = False,
) -> None:
    """Compile the pipeline into a YAML file, with `values` as its parameters' defaults; see `pipeline` for `place` and `scheduled`.

    The same sources and values give the same bytes, and nothing of this machine or its environment is in them.
    """
    compiler.Compiler().compile(
        build_pipeline(place, scheduled=scheduled),
        str(path),
        pipeline_parameters=dict(values or {}),
    )
