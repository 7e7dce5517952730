"""The pipeline's parameters: which options have one of their own, and the values a configuration gives them.

What people change between runs is a typed parameter; the rest of each section travels as a JSON object in one string,
because KFP turns integers inside structured parameters into floats or strings.
"""

from __future__ import annotations

import json
from typing import Any

from components.config.schema import Config
from components.errors import ConfigError

TYPED_PARAMETERS = {
    "source": ("data", "source"),
    "test_source": ("data", "test_source"),
    "end_time": ("data", "end_time"),
    "encoder": ("model", "encoder"),
    "freeze": ("model", "freeze"),
    "epochs": ("train", "epochs"),
    "batch_size": ("train", "batch_size"),
    "learning_rate": ("train", "learning_rate"),
    "workers": ("train", "workers"),
    "seed": ("train", "seed"),
    "min_accuracy": ("evaluate", "min_accuracy"),
    "model_store": ("export", "model_store"),
    "model_name": ("export", "model_name"),
}
SECTIONS = tuple(name for name in Config.model_fields if name != "schedule")
SUBMISSION_OPTIONS = {
    "cluster": {"endpoint", "auth", "kubeflow_namespace", "experiment", "pipeline_root"}
}
"""Options that say how a run is submitted; they change no step, so no step is done again because of them."""
RUN_PARAMETERS = {
    "fingerprint": "stands for the data's content and the code in the cache's key; `kubert run` fills it in",
    "scratch": "place (directory, gs://, s3:// or minio://) in which training keeps its state, so that a killed run goes on; empty: `cluster.checkpoint_uri`",
}


def build_arguments(config: Config) -> dict[str, str | int | float | bool]:
    """The value of each parameter; what is at its default is left out of the JSON objects.

    Raises ConfigError for text that the pipeline would take for one of its placeholders.
    """
    values: dict[str, str | int | float | bool] = {}
    for parameter, (section, option) in TYPED_PARAMETERS.items():
        value = getattr(getattr(config, section), option)
        if isinstance(value, str) and "{{" in value:
            raise ConfigError(
                f"{section}.{option}: {value!r} holds '{{{{', which pipelines read as a placeholder; choose another name"
            )
        values[parameter] = "" if value is None else value
    for section in SECTIONS:
        own = {
            option for owner, option in TYPED_PARAMETERS.values() if owner == section
        } | SUBMISSION_OPTIONS.get(section, set())
        rest = getattr(config, section).model_dump(mode="json", exclude=own, exclude_defaults=True)
        values[section] = _escape_placeholders(json.dumps(rest, sort_keys=True))
    return values


def describe_parameters() -> dict[str, str]:
    """One line per parameter, taken from the options' own descriptions."""
    options = {section: type(getattr(Config(), section)).model_fields for section in SECTIONS}
    typed = {
        name: str(options[section][option].description)
        for name, (section, option) in TYPED_PARAMETERS.items()
    }
    sections = {
        name: f"the other options of section `{name}`, as a JSON object; `kubert config` lists them"
        for name in SECTIONS
    }
    return {**typed, **sections, **RUN_PARAMETERS}


def default_arguments() -> dict[str, Any]:
    """The parameters' default values: those of the options."""
    return {**build_arguments(Config()), **dict.fromkeys(RUN_PARAMETERS, "")}


def _escape_placeholders(text: str) -> str:
    """The same JSON without `{{`, which can only stand inside a string and would be replaced by KFP's or Argo's templates."""
    return text.replace("{{", "\\u007b\\u007b")
