from __future__ import annotations

import pytest

from components.config.loading import load_config
from components.config.schema import Config
from components.errors import ConfigError
from pipeline import presets

REFUSED = [
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
        "cluster.state=/mnt/state", "must start with gs://, s3:// or minio://", id="local-state"
    ),
    pytest.param(
        "cluster.pipeline_root=http://bucket",
        "must start with gs://, s3:// or minio://",
        id="root-of-another-kind",
    ),
    pytest.param("cluster.memory=4 GB", "cluster.memory", id="quantity"),
    pytest.param("cluster.gpus=-1", "cluster.gpus", id="negative"),
    pytest.param(
        "cluster.environment={TF_CONFIG: x}", "TF_CONFIG is set by kubert itself", id="own-variable"
    ),
    pytest.param(
        "cluster.environment={a-b: x}",
        "'a-b' is not the name of a variable",
        id="impossible-variable",
    ),
    pytest.param(
        "cluster.tolerations=[{taint: gpu}]", "'taint' is no field of a toleration", id="toleration"
    ),
    pytest.param("cluster.backend=ray", "cluster.backend", id="backend"),
    pytest.param("data.window=30d", "window needs `time`", id="window-without-time"),
    pytest.param("data.window=30", "data.window", id="window-without-unit"),
    pytest.param("data.until=yesterday", "data.until", id="until"),
    pytest.param("schedule.concurrency=0", "schedule.concurrency", id="concurrency"),
]


@pytest.mark.parametrize(("assignment", "said"), REFUSED)
def test_t2_what_cannot_work_is_refused_and_named(assignment: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(None, [assignment])


def test_a6_credentials_in_an_address_are_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, ["cluster.endpoint=https://me:canary-5f1d@kfp.example.com"])
    assert "canary" not in str(refused.value)
    assert "https://***@kfp.example.com" in str(refused.value)


def test_checkpoints_under_way_have_one_place() -> None:
    with pytest.raises(ConfigError, match="state and state_claim are two places"):
        load_config(None, ["cluster.state=gs://bucket/state", "cluster.state_claim=shared"])


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
def test_times_are_taken_as_yaml_reads_them(text: str) -> None:
    until = load_config(None, [f"data.until={text}"]).data.until
    assert until is not None
    assert until.startswith("2026-03-01")


def test_a_printed_configuration_loads_back(tmp_path) -> None:
    assignments = [
        "cluster.gpus=2",
        "cluster.tolerations=[{key: gpu, operator: Exists}]",
        "schedule.cron=30 2 * * 1",
        "data.time=at",
        "data.window=4w",
    ]
    config = load_config(None, assignments)
    path = tmp_path / "config.yaml"
    path.write_text(presets.render_config(config, "mine"), encoding="utf-8")
    assert load_config(path) == config != Config()
