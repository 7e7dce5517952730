"""The options' names and values: what is accepted, and what is refused with which message."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config.loading import load_config, validate_config
from components.config.renamed_options import (
    ADDED_OPTIONS,
    RENAMED_OPTIONS,
    from_stored_names,
    to_stored_names,
)
from components.config.schema import Config
from components.errors import ConfigError
from pipeline import presets

IMPOSSIBLE_VALUES = [
    pytest.param(
        "cluster.endpoint=kfp.example.com", "cluster.endpoint", id="endpoint-without-scheme"
    ),
    pytest.param(
        "cluster.endpoint=https://me:secret@kfp.example.com",
        "cluster.endpoint",
        id="endpoint-with-credentials",
    ),
    pytest.param("cluster.namespace=Kubert_1", "cluster.namespace", id="namespace"),
    pytest.param(
        "cluster.checkpoint_uri=/mnt/state",
        "must start with gs://, s3:// or minio://",
        id="local-state",
    ),
    pytest.param(
        "cluster.pipeline_root=http://bucket",
        "must start with gs://, s3:// or minio://",
        id="root-of-another-kind",
    ),
    pytest.param(
        "train.class_weights=equal",
        "must be none, balanced, or a weight for the name of each class",
        id="class-weights",
    ),
    *[
        pytest.param(
            f"train.class_weights={{a: {weight}, b: 1}}",
            "the weight of 'a' must be a number above 0",
            id=f"class-weight-{weight}",
        )
        for weight in ("0", "-1", ".inf", ".nan", "many", "true")
    ],
    *[
        pytest.param(
            f"model.start_from={reference}", "write STORE/NAME or STORE/NAME@VERSION", id=reference
        )
        for reference in ("news", "models/news@0", "models/news@latest", "gs://", "/")
    ],
    *[
        pytest.param(
            f"evaluate.minimum={value}", f"evaluate.minimum: {message}", id=f"minimum-{value}"
        )
        for value, message in {
            "0.8": "must be minima by the names of metrics",
            "{acuracy: 1}": "no metric 'acuracy'; .*; did you mean accuracy?",
            '{"recal[spam]": 1}': r"no metric 'recal\[spam\]'; .*; did you mean recall\[spam\]\?",
            '{"recall": 1}': r"no metric 'recall'; the metrics are accuracy, macro_f1, precision\[",
            '{"recall[]": 1}': r"no metric 'recall\[\]'",
            "{loss: 1}": "no metric 'loss'",
            "{accuracy: 1.1}": "the minimum of accuracy must be a number from 0 to 1, not 1.1",
            "{accuracy: .nan}": "the minimum of accuracy must be a number from 0 to 1, not nan",
            "{accuracy: true}": "the minimum of accuracy must be a number from 0 to 1, not True",
            "{accuracy: high}": "the minimum of accuracy must be a number from 0 to 1, not 'high'",
        }.items()
    ],
    pytest.param("train.label_smoothing=1", "train.label_smoothing", id="label-smoothing"),
    pytest.param("cluster.memory=4 GB", "cluster.memory", id="quantity"),
    pytest.param("cluster.gpus=-1", "cluster.gpus", id="negative"),
    pytest.param(
        "cluster.gpu_steps=[evaluate]",
        r"gpu_steps=\['evaluate'\] needs workers with GPUs",
        id="gpu-step-without-the-gpu-image",
    ),
    *[
        pytest.param(
            f"cluster.gpu_resource={name}",
            "cluster.gpu_resource: must be DOMAIN/NAME, such as nvidia.com/gpu .*given: '",
            id=f"resource-{name}",
        )
        for name in ("gpu", "nvidia.com/", "nvidia.com/gpu/1", "Nvidia.com/gpu", "nvidia.com/-gpu")
    ],
    pytest.param(
        "cluster.gpu_resource=kubernetes.io/gpu",
        r"kubernetes.io/ is reserved .* such as nvidia.com/gpu \(given: 'kubernetes.io/gpu'\)",
        id="resource-of-kubernetes",
    ),
    pytest.param(
        "cluster.gpu_resource=requests.nvidia.com/gpu",
        "cluster.gpu_resource: the prefix requests. names a resource in a quota only; write nvidia",
        id="resource-of-a-quota",
    ),
    pytest.param(
        f"cluster.gpu_resource={'a' * 245}/gpu", "244 at most", id="resource-with-a-long-domain"
    ),
    pytest.param(
        "cluster.topology_key=zone of it",
        "cluster.topology_key: must be a label's key, such as topology.kubernetes.io/zone",
        id="topology-key",
    ),
    pytest.param(
        "cluster.cpu=4Gi",
        r"cluster.cpu: must be a number of CPU cores, such as 2, 0.5 or 500m \(given: '4Gi'\)",
        id="cpu-in-bytes",
    ),
    pytest.param(
        "export.model_name=my news",
        r"export.model_name: must be letters, digits, .* such as news-2 \(given: 'my news'\)",
        id="model-name",
    ),
    pytest.param(
        "schedule.name=news/nightly",
        "schedule.name: must be letters, digits, spaces, .* such as news nightly",
        id="schedule-name",
    ),
    pytest.param(
        "cluster.gpu_steps=[gate]",
        r"cluster.gpu_steps: Input should be 'evaluate' or 'export' \(given: 'gate'\)",
        id="gpu-for-the-gate",
    ),
    pytest.param(
        "cluster.gpu_steps=evaluate",
        r"cluster.gpu_steps: must be a list, such as \[evaluate\] \(given: 'evaluate'\)",
        id="gpu-step-without-brackets",
    ),
    pytest.param(
        "cluster.gpu_steps=[export, export]",
        r"cluster.gpu_steps: names a step twice; write \[export\]",
        id="gpu-step-twice",
    ),
    pytest.param(
        "cluster.environment={TF_CONFIG: x}", "TF_CONFIG is set by kubert itself", id="own-variable"
    ),
    pytest.param(
        "cluster.environment={a-b: x}",
        "'a-b' is not the name of an environment variable",
        id="impossible-variable",
    ),
    pytest.param(
        "cluster.tolerations=[{taint: gpu}]",
        "'taint' is not a field of a toleration",
        id="toleration",
    ),
    pytest.param("cluster.backend=ray", "cluster.backend", id="backend"),
    pytest.param("data.window=30d", "window needs `time_column`", id="window-without-time"),
    pytest.param("data.window=30", "data.window", id="window-without-unit"),
    pytest.param("data.end_time=yesterday", "data.end_time", id="end-time"),
    *[
        pytest.param(f"{option}={value}", f"{option}: Input should be a valid {kind}", id=value)
        for option, kind in {
            "evaluate.champion_margin": "number",
            "evaluate.explain_errors": "integer",
        }.items()
        for value in ("true", "'1'")
    ],
    *[
        pytest.param(f"{option}={value}", f"{option}: .* is not the name of a column", id=value)
        for option in ("data.text", "data.text_pair")
        for value in ("[a, null]", "[[a], [b]]", "[true, false]")
    ],
    pytest.param(
        "schedule.max_concurrent_runs=0", "schedule.max_concurrent_runs", id="concurrency"
    ),
]


@pytest.mark.parametrize(("assignment", "message"), IMPOSSIBLE_VALUES)
def test_an_impossible_value_is_refused_and_named(assignment: str, message: str) -> None:
    """Fault T2."""
    with pytest.raises(ConfigError, match=message):
        load_config(None, [assignment])


def test_a_value_that_has_no_text_is_named_by_its_type() -> None:
    with pytest.raises(ConfigError, match=r"train\.epochs: .* \(given: a value of type int\)"):
        validate_config({"train": {"epochs": 10**5000}})


@pytest.mark.parametrize(
    "value",
    [
        "{recall[spam]: 0.5}",
        "{recall[not spam]: 0.5, macro_f1: 0.5, f1[a[1]]: 0.5}",
        '{"recall[spam]": 0.5, f1[ham]: 0.5}',
    ],
)
def test_the_remedy_for_names_in_brackets_works(value: str) -> None:
    with pytest.raises(ConfigError, match="quote text with special characters") as caught:
        load_config(None, [f"evaluate.minimum={value}"])
    remedy = str(caught.value).rpartition("--set '")[2].removesuffix("'")
    assert len(load_config(None, [remedy]).evaluate.minimum) == value.count(":")


@pytest.mark.parametrize("character", ["|", ";", "#", " , ", "&"])
def test_a_single_special_character_needs_no_quotes(character: str) -> None:
    options = ["task.kind=multi_label", f"task.separator={character}"]
    assert load_config(None, options).task.separator == character.strip()


def test_columns_of_single_texts_and_of_pairs_exclude_each_other_also_at_their_default(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("data:\n  text: [title, description]\n  text_pair: [a, b]\n")
    with pytest.raises(ConfigError, match="text and text_pair exclude each other"):
        load_config(path)
    assert load_config(path, ["data.text_pair=null"]).data.text_pair is None


def test_a_printed_configuration_of_pairs_loads_back(tmp_path: Path) -> None:
    config = presets.load_preset("pairs")
    path = tmp_path / "config.yaml"
    path.write_text(presets.render_config(config, "mine"), encoding="utf-8")
    assert load_config(path) == config


def test_credentials_in_an_address_are_not_repeated() -> None:
    """Fault A6."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, ["cluster.endpoint=https://me:canary-5f1d@kfp.example.com"])
    assert "canary" not in str(caught.value)
    assert "https://***@kfp.example.com" in str(caught.value)


def test_local_workers_of_one_pod_cannot_share_out_parts_of_gpus() -> None:
    options = ["cluster.gpu_resource=nvidia.com/mig-1g.5gb", "cluster.gpus=1"]
    with pytest.raises(ConfigError, match=r"only one nvidia\.com/mig-1g\.5gb can be used"):
        load_config(None, [*options, "train.workers=2"])
    for fitting in ("train.workers=1", "cluster.backend=jobset"):
        load_config(None, [*options, "train.workers=2", fitting])


@pytest.mark.parametrize("resource", ["nvidia.com/mig-1g.5gb", "nvidia.com/gpu.shared"])
def test_a_worker_has_only_one_part_of_a_gpu(resource: str) -> None:
    options = [f"cluster.gpu_resource={resource}", "cluster.gpus=1"]
    assert load_config(None, options).cluster.gpu_resource == resource
    with pytest.raises(ConfigError, match=f"gpus=2: a worker can use only one {resource}"):
        load_config(None, [*options, "cluster.gpus=2"])


def test_running_trainings_keep_checkpoints_in_one_location() -> None:
    with pytest.raises(ConfigError, match="checkpoint_uri and checkpoint_pvc exclude each other"):
        load_config(
            None, ["cluster.checkpoint_uri=gs://bucket/state", "cluster.checkpoint_pvc=shared"]
        )


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01",
        "2026-03-01T02:00:00",
        "2026-03-01T02:00:00+01:00",
        "2026-03-01T02:00:00Z",
        "'2026-03-01'",
    ],
)
def test_times_are_accepted_as_yaml_reads_them(text: str) -> None:
    end_time = load_config(None, [f"data.end_time={text}"]).data.end_time
    assert end_time is not None
    assert end_time.startswith("2026-03-01")


def test_a_printed_configuration_loads_back(tmp_path: Path) -> None:
    assignments = [
        "cluster.gpus=2",
        "cluster.tolerations=[{key: gpu, operator: Exists}]",
        "schedule.cron=30 2 * * 1",
        "data.time_column=at",
        "data.window=4w",
        "model.start_from=gs://bucket/models/news@3",
        "train.class_weights={007: 2, no: 1, 1.50: 3}",
        'evaluate.minimum={macro_f1: 0.5, "recall[no]": 0.1, "f1[a: [1]]": 1}',
    ]
    config = load_config(None, assignments)
    path = tmp_path / "config.yaml"
    path.write_text(presets.render_config(config, "mine"), encoding="utf-8")
    assert load_config(path) == config != Config()


@pytest.mark.parametrize(("old", "new"), RENAMED_OPTIONS.items(), ids=list(RENAMED_OPTIONS))
def test_the_old_name_of_an_option_is_refused_with_the_new_one(
    old: str, new: str, tmp_path: Path
) -> None:
    section, _, option = old.partition(".")
    message = rf"^config\.yaml:\n  {old}: this option is now called {new}$"
    path = tmp_path / "config.yaml"
    path.write_text(f"{section}:\n  {option}: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(path)
    with pytest.raises(ConfigError, match=message.replace(r"config\.yaml", "--set")):
        load_config(None, [f"{old}=1"])


def test_new_names_are_options_and_old_names_are_not() -> None:
    options = {
        f"{section}.{option}"
        for section in Config.model_fields
        for option in type(getattr(Config(), section)).model_fields
    }
    assert set(RENAMED_OPTIONS.values()) <= options
    assert not options & RENAMED_OPTIONS.keys()


def test_artifacts_store_the_old_names() -> None:
    stored = to_stored_names("train", {"lr_schedule": "linear", "epochs": 3})
    assert stored == {"decay": "linear", "epochs": 3}
    assert from_stored_names("train", stored) == {"lr_schedule": "linear", "epochs": 3}
    assert from_stored_names("train", {"lr_schedule": "linear"}) == {"lr_schedule": "linear"}


def test_artifacts_store_an_added_option_only_where_it_is_not_at_its_default() -> None:
    for name, default in ADDED_OPTIONS.items():
        section, _, option = name.partition(".")
        assert getattr(getattr(Config(), section), option) == default
        assert to_stored_names(section, {option: default}) == {}
        assert to_stored_names(section, {option: "set"}) == {option: "set"}


def test_names_of_weighted_classes_are_kept_as_written(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("train:\n  class_weights: {007: 2, no: 1}\n", encoding="utf-8")
    for config in (load_config(path), load_config(None, ["train.class_weights={007: 2, no: 1}"])):
        assert config.train.class_weights == {"007": 2.0, "no": 1.0}


def test_every_option_is_described() -> None:
    for section in Config.model_fields:
        for option, field in type(getattr(Config(), section)).model_fields.items():
            assert field.description, f"{section}.{option}"


@pytest.mark.parametrize(
    ("assignment", "end"),
    [
        pytest.param("train.epoch=3", "; did you mean train.epochs?", id="similar-option"),
        pytest.param("dat.label=3", "; did you mean data?", id="similar-section"),
        pytest.param("train.lr=3", "lists them all", id="nothing-similar"),
        pytest.param("train.labels=3", "lists them all", id="similar-in-another-section"),
    ],
)
def test_an_unknown_option_is_answered_with_the_most_similar_name(
    assignment: str, end: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [assignment])
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param(
            "mine.yaml",
            "data:\n  source: a.csv\n label: b\n",
            "mine.yaml: not YAML: line 3, column 2: expected <block end>, ",
            id="indentation",
        ),
        pytest.param("mine.yaml", "a", "must contain sections", id="not-a-mapping"),
        pytest.param(
            "mine.csv",
            "a,b\n",
            "a data file, not a configuration; name it in data.source",
            id="csv",
        ),
        pytest.param("mine.CSV.GZ", "", "a data file, not a configuration", id="compressed"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_with_the_reason(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
