from __future__ import annotations

import json

import pytest

from components.config.loading import load_config
from components.config.schema import Config
from components.errors import ConfigError
from components.step_runtime import parse_section
from pipeline import definition, parameters

CHANGED = [
    "data.source=news.csv",
    "data.test_source=test.csv",
    "data.classes=[a, '{{a}}']",
    "data.text=[1, 2]",
    "model.encoder=scratch",
    "model.dropout=0.25",
    "train.epochs=7",
    "train.length_buckets=[8, 16]",
    "train.learning_rate=0.001",
    "evaluate.max_reported_errors=0",
    'evaluate.minimum={"recall[{{a}}]": 0.5}',
    "export.model_store=gs://bucket/models",
    "data.time_column=published",
    "data.window=30d",
    "data.end_time=2026-03-01T02:00:00+00:00",
    "cluster.backend=jobset",
    "cluster.gpus=2",
    "cluster.node_selector={pool: gpu}",
    "cluster.environment={NCCL_DEBUG: INFO}",
]


ONE_HOT = [
    "task.kind=multi_label",
    "data.label=[late, broken, wrong]",
    "train.best_metric=micro_f1",
    'evaluate.minimum={micro_f1: 0.5, subset_accuracy: 0.2, "recall[late]": 0.1}',
]
NUMBERS = ["task.kind=regression", "evaluate.minimum={rmse: 2.5, r2: 0.3}"]


def rebuild_config(values: dict) -> Config:
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
    "assignments",
    [
        pytest.param([], id="defaults"),
        pytest.param(CHANGED, id="changed"),
        pytest.param(ONE_HOT, id="one_hot_columns"),
        pytest.param(NUMBERS, id="numbers"),
    ],
)
def test_a_configuration_is_the_same_after_passing_through_parameters(
    assignments: list[str],
) -> None:
    config = load_config(None, assignments)
    assert rebuild_config(parameters.build_arguments(config)) == config


def test_training_gets_the_classes_that_have_a_minimum_and_nothing_else_of_the_gate() -> None:
    minimum = 'evaluate.minimum={accuracy: 1, "recall[b]": 0.5, "f1[b]": 0.1, "f1[{{a}}]": 0}'
    arguments = parameters.build_arguments(load_config(None, [minimum]))
    assert "{{" not in str(arguments["minimum_classes"])
    assert json.loads(str(arguments["minimum_classes"])) == ["b", "{{a}}"]
    steps = definition.build_pipeline().pipeline_spec.components
    inputs = steps["comp-train"].input_definitions.parameters
    assert "minimum_classes" in inputs and "evaluate" not in inputs


def test_options_at_their_default_are_not_sent() -> None:
    assert {
        name: value
        for name, value in parameters.build_arguments(Config()).items()
        if name in parameters.SECTIONS
    } == dict.fromkeys(parameters.SECTIONS, "{}")


def test_options_about_submission_are_no_parameters_of_steps() -> None:
    assignments = [
        "cluster.endpoint=https://kfp.example.com",
        "cluster.experiment=news",
        "cluster.pipeline_root=gs://b/r",
        "schedule.cron=0 2 * * *",
    ]
    assert parameters.build_arguments(load_config(None, assignments)) == parameters.build_arguments(
        Config()
    )


def test_every_parameter_has_a_description_and_every_description_a_parameter() -> None:
    names = set(definition.build_pipeline().component_spec.inputs or {})
    assert names == set(parameters.describe_parameters()) == set(parameters.default_arguments())
    assert all(text.strip() for text in parameters.describe_parameters().values())


def test_every_parameter_reaches_a_step() -> None:
    tasks = definition.build_pipeline().pipeline_spec.root.dag.tasks.values()
    inputs = [value for task in tasks for value in task.inputs.parameters.values()]
    assert {value.component_input_parameter for value in inputs} - {""} == set(
        parameters.default_arguments()
    )


def test_parameters_have_the_types_of_their_options() -> None:
    inputs = definition.build_pipeline().component_spec.inputs or {}
    typed = {name: inputs[name].type for name in ("source", "freeze", "epochs", "min_accuracy")}
    assert typed == {
        "source": "String",
        "freeze": "Boolean",
        "epochs": "Integer",
        "min_accuracy": "Float",
    }


@pytest.mark.parametrize("text", ["{{workflow.name}}", "{{$.pipeline_job_uuid}}", "a {{$}} b"])
def test_placeholders_inside_sections_are_passed_as_data(text: str) -> None:
    """Fault A4."""
    config = load_config(None, ["data.classes=" + json.dumps([text, "other"])])
    arguments = parameters.build_arguments(config)
    assert "{{" not in str(arguments["data"])
    assert rebuild_config(arguments) == config


def test_placeholders_in_typed_parameters_are_refused() -> None:
    """Fault A4."""
    with pytest.raises(ConfigError, match=r"data\.source: '\{\{workflow.name\}\}\.csv' contains"):
        parameters.build_arguments(load_config(None, ["data.source='{{workflow.name}}.csv'"]))
