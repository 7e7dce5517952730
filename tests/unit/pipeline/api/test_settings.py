from __future__ import annotations

from pathlib import Path

import pytest

from components.config.schema import Config
from components.errors import ConfigError, UsageError
from pipeline.api.settings import format_assignments, load_data_options, load_settings


def test_options_are_those_of_set() -> None:
    found = load_settings(
        "quickstart",
        {
            "train.epochs": 7,
            "data.text": ["title", "a, b"],
            "data.test_source": None,
            "export.model_store": Path("/models"),
            "train.xla": True,
        },
    )
    assert found.train.epochs == 7
    assert found.data.text == ("title", "a, b")
    assert found.data.test_source is None
    assert found.export.model_store == "/models"
    assert found.train.xla is True


def test_text_stays_text() -> None:
    assert format_assignments({"a.b": "1", "c.d": "caf\u00e9: {x}"}) == [
        'a.b="1"', 'c.d="caf\u00e9: {x}"',
    ]  # fmt: skip


def test_a_configuration_is_taken_as_it_is() -> None:
    config = Config()
    assert load_settings(config) is config


@pytest.mark.parametrize(
    ("config", "options", "error", "message"),
    [
        pytest.param("nope", {}, ConfigError, "neither a file nor a shipped", id="name"),
        pytest.param("quickstart", {"train.epoch": 1}, ConfigError, "no such option", id="option"),
        pytest.param("quickstart", {"train.epochs": 0}, ConfigError, "train.epochs", id="value"),
        pytest.param("quickstart", {"train.epochs": object()}, UsageError, "object", id="object"),
        pytest.param(Config(), {"train.epochs": 1}, UsageError, "Config object", id="both"),
    ],
)
def test_mistakes_are_the_documented_errors(config, options, error, message) -> None:
    with pytest.raises(error, match=message):
        load_settings(config, options)


def test_rows_are_scored_with_a_configuration_of_one_column_for_each_label(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("task: {kind: multi_label}\ndata: {text: note, label: [late, broken]}\n")
    found = load_data_options(str(config), [], ["new.csv"], None, None)
    assert found.label == ("late", "broken")
