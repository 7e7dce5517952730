"""The pipeline's parameters: which options have their own, and the values of a configuration.

Options that users change between runs are typed parameters. The rest of each section travels as a
JSON object in one string, because KFP turns integers inside structured parameters into floats or
strings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from components.config.evaluate import list_minimum_classes
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
    "calibrate": ("export", "calibrate"),
    "model_store": ("export", "model_store"),
    "model_name": ("export", "model_name"),
}
"""Parameters with a name and a type of their own, and the option that each stands for."""
SECTIONS = tuple(name for name in Config.model_fields if name not in ("schedule", "score"))
SUBMISSION_OPTIONS = {
    "cluster": {"endpoint", "auth", "ui", "kubeflow_namespace", "experiment", "pipeline_root"}
}
"""Options about how a run is submitted: steps do not see them, so changing one reruns no step."""
DERIVED_PARAMETERS: Mapping[str, tuple[Callable[[Config], str], str]] = {
    "minimum_classes": (
        lambda config: json.dumps(list_minimum_classes(config.evaluate)),
        "the classes that `evaluate.minimum` names, as a JSON list: training checks that the data "
        "have them",
    ),
}
"""Parameters that follow from options of a section whose step would get them too late."""
RUN_PARAMETERS = {
    "fingerprint": "stands for the data's content and the code in the key of KFP's cache; "
    "`kubert run` fills it in",
    "scratch": "directory or URI (gs://, s3:// or minio://) in which training and scoring keep "
    "their state, so that a killed run continues; empty: `cluster.checkpoint_uri`",
}
"""Parameters of one run that no option stands for."""
FOLDS_PARAMETER = "folds"


@dataclass(frozen=True)
class ParameterLayout:
    """How the options of a configuration become the parameters of one pipeline.

    typed: parameters with a name and a type, and the option that each stands for.
    sections: those whose other options travel as a JSON object.
    omitted: options by section that the steps do not see.
    derived: parameters that are computed from the configuration: how, and their descriptions.
    constants: parameters with a value that no configuration changes, and their descriptions.
    """

    typed: Mapping[str, tuple[str, str]]
    sections: tuple[str, ...]
    omitted: Mapping[str, set[str]]
    run_parameters: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, tuple[Callable[[Config], str], str]] = field(default_factory=dict)
    constants: Mapping[str, tuple[ParameterValue, str]] = field(default_factory=dict)


TRAINING = ParameterLayout(
    TYPED_PARAMETERS, SECTIONS, SUBMISSION_OPTIONS, RUN_PARAMETERS, DERIVED_PARAMETERS
)
SCORING = ParameterLayout(
    typed={
        "release": ("score", "release"),
        "source": ("score", "source"),
        "target": ("score", "to"),
        "end_time": ("data", "end_time"),
        "format": ("score", "format"),
        "workers": ("score", "workers"),
    },
    sections=("data", "score", "cluster"),
    omitted={**SUBMISSION_OPTIONS, "data": {"source", "test_source"}},
)


def build_fold_layout(folds: int) -> ParameterLayout:
    """The layout of a cross-validation: that of a training, without what says where to release."""
    targets = {"model_store", "model_name"}
    return replace(
        TRAINING,
        typed={name: option for name, option in TRAINING.typed.items() if name not in targets},
        sections=tuple(name for name in TRAINING.sections if name != "export"),
        constants={
            FOLDS_PARAMETER: (folds, "number of folds, for which the pipeline was compiled")
        },
    )


def build_arguments(
    config: Config, layout: ParameterLayout = TRAINING
) -> dict[str, ParameterValue]:
    """The value of each parameter; options at their default are left out of the JSON objects.

    Raises ConfigError for text that the pipeline would take for one of its placeholders.
    """
    values: dict[str, ParameterValue] = {}
    for parameter, (section, option) in layout.typed.items():
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
    for section in layout.sections:
        typed = {option for owner, option in layout.typed.values() if owner == section}
        rest = getattr(config, section).model_dump(
            mode="json",
            exclude=typed | layout.omitted.get(section, set()),
            exclude_defaults=True,
        )
        values[section] = _escape_placeholders(json.dumps(rest, sort_keys=True))
    for parameter, (compute, _) in layout.derived.items():
        values[parameter] = _escape_placeholders(compute(config))
    return {**values, **{name: value for name, (value, _) in layout.constants.items()}}


def describe_parameters(layout: ParameterLayout = TRAINING) -> dict[str, str]:
    """One line per parameter, taken from the options' own descriptions."""
    typed = {
        name: str(type(getattr(Config(), section)).model_fields[option].description)
        for name, (section, option) in layout.typed.items()
    }
    sections = {
        name: f"the other options of section `{name}`, as a JSON object; `kubert config` lists them"
        for name in layout.sections
    }
    derived = {name: description for name, (_, description) in layout.derived.items()}
    constants = {name: description for name, (_, description) in layout.constants.items()}
    return {**typed, **sections, **derived, **constants, **layout.run_parameters}


def default_arguments(layout: ParameterLayout = TRAINING) -> dict[str, ParameterValue]:
    """The parameters' default values: those of the options."""
    return {**build_arguments(Config(), layout), **dict.fromkeys(layout.run_parameters, "")}


def _escape_placeholders(text: str) -> str:
    """The same JSON without `{{`, which KFP's and Argo's templates would replace.

    In JSON it can only be part of a string, where an escape means the same.
    """
    return text.replace("{{", "\\u007b\\u007b")
