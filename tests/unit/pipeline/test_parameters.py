from __future__ import annotations

import json

import pytest

from components.config.loading import load_config
from components.config.schema import Config
from components.errors import ConfigError
from components.step_runtime import parse_section
from pipeline import definition, parameters

CHANGED = [
    "data.source=news.csv", "data.test_source=test.csv", "data.classes=[a, b]", "data.text=[1, 2]", "model.encoder=scratch",
    "model.dropout=0.25", "train.epochs=7", "train.length_buckets=[8, 16]", "train.learning_rate=0.001", "evaluate.max_reported_errors=0",
    "export.model_store=gs://bucket/models", "data.time_column=published", "data.window=30d", "data.end_time=2026-03-01T02:00:00+00:00",
    "cluster.backend=jobset", "cluster.gpus=2", "cluster.node_selector={pool: gpu}", "cluster.environment={NCCL_DEBUG: INFO}",
]  # fmt: skip


def rebuilt(values: dict) -> Config:
    sections = {}
    for name in parameters.SECTIONS:
        typed = {
            option: values[parameter]
            for parameter, (section, option) in parameters.TYPED_PARAMETERS.items()
            if section == name
        }
        sections[name] = parse_section(
            type(getattr(Config(), name)),
            values[name],
            **{key: None if value == "" else value for key, value in typed.items()},
        )
    return Config(**sections)


@pytest.mark.parametrize(
    "assignments", [pytest.param([], id="defaults"), pytest.param(CHANGED, id="changed")]
)
def test_a_configuration_survives_the_journey_through_parameters(assignments: list[str]) -> None:
    config = load_config(None, assignments)
    assert rebuilt(parameters.build_arguments(config)) == config


def test_what_is_at_its_default_is_not_sent() -> None:
    assert {
        name: value
        for name, value in parameters.build_arguments(Config()).items()
        if name in parameters.SECTIONS
    } == dict.fromkeys(parameters.SECTIONS, "{}")


def test_how_a_run_is_submitted_changes_no_step() -> None:
    submitted = [
        "cluster.endpoint=https://kfp.example.com",
        "cluster.experiment=news",
        "cluster.pipeline_root=gs://b/r",
        "schedule.cron=0 2 * * *",
    ]
    assert parameters.build_arguments(load_config(None, submitted)) == parameters.build_arguments(
        Config()
    )


def test_every_parameter_has_a_description_and_every_description_a_parameter() -> None:
    names = set(definition.build_pipeline().component_spec.inputs or {})
    assert names == set(parameters.describe_parameters()) == set(parameters.default_arguments())
    assert all(text.strip() for text in parameters.describe_parameters().values())


@pytest.mark.parametrize("text", ["{{workflow.name}}", "{{$.pipeline_job_uuid}}", "a {{$}} b"])
def test_a4_placeholders_inside_sections_travel_as_data(text: str) -> None:
    config = load_config(None, ["data.classes=" + json.dumps([text, "other"])])
    sent = parameters.build_arguments(config)
    assert "{{" not in str(sent["data"])
    assert rebuilt(sent) == config


def test_a4_placeholders_in_plain_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.source: '\{\{workflow.name\}\}\.csv' holds"):
        parameters.build_arguments(load_config(None, ["data.source='{{workflow.name}}.csv'"]))
