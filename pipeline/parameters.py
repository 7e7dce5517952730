"""The pipeline's parameters: which options have their own, and the values of a configuration.

Options that users change between runs are typed parameters. The rest of each section travels as a
JSON object in one string, because KFP turns integers inside structured parameters into floats or
strings.
"""

from __future__ import annotations

import json

from components.config.schema import Config
from components.errors import ConfigError

ParameterValue = str | int | float | bool
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
"""Parameters with a name and a type of their own, and the option that each stands for."""
SECTIONS = tuple(name for name in Config.model_fields if name != "schedule")
SUBMISSION_OPTIONS = {
    "cluster": {"endpoint", "auth", "ui", "kubeflow_namespace", "experiment", "pipeline_root"}
}
"""Options about how a run is submitted: steps do not see them, so changing one reruns no step."""
RUN_PARAMETERS = {
    "fingerprint": "stands for the data's content and the code in the key of KFP's cache; "
    "`kubert run` fills it in",
    "scratch": "directory or URI (gs://, s3:// or minio://) in which training and scoring keep "
    "their state, so that a killed run continues; empty: `cluster.checkpoint_uri`",
}
"""Parameters of one run that no option stands for."""


def build_arguments(config: Config) -> dict[str, ParameterValue]:
    """The value of each parameter; options at their default are left out of the JSON objects.

    Raises ConfigError for text that the pipeline would take for one of its placeholders.
    """
    values: dict[str, ParameterValue] = {}
    for parameter, (section, option) in TYPED_PARAMETERS.items():
        value = getattr(getattr(config, section), option)
        if "{{" in str(value):
            raise ConfigError(
                f"{section}.{option}: {value!r} contains '{{{{', which pipelines read as a "
                "placeholder; choose another name"
            )
        # A parameter has one type: several sources travel as a JSON list, see DataConfig.
        values[parameter] = (
            "" if value is None else json.dumps(value) if isinstance(value, tuple) else value
        )
    for section in SECTIONS:
        typed = {option for owner, option in TYPED_PARAMETERS.values() if owner == section}
        rest = getattr(config, section).model_dump(
            mode="json",
            exclude=typed | SUBMISSION_OPTIONS.get(section, set()),
            exclude_defaults=True,
        )
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


def default_arguments() -> dict[str, ParameterValue]:
    """The parameters' default values: those of the options."""
    return {**build_arguments(Config()), **dict.fromkeys(RUN_PARAMETERS, "")}


def _escape_placeholders(text: str) -> str:
    """The same JSON without `{{`, which KFP's and Argo's templates would replace.

    In JSON it can only be part of a string, where an escape means the same.
    """
    return text.replace("{{", "\\u007b\\u007b")
