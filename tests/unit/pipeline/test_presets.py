from __future__ import annotations

from pathlib import Path

import pytest

from components.config.loading import load_config
from components.config.schema import Config
from components.errors import ConfigError
from pipeline import presets

ENCODERS = {"scratch", "minilm", "hub", "hf"}


@pytest.mark.parametrize("name", presets.list_presets())
def test_a_rendered_configuration_loads_back_equal(name: str, tmp_path: Path) -> None:
    config = load_config(presets.find_preset(name))
    path = tmp_path / "config.yaml"
    path.write_text(
        presets.render_config(config, presets.read_preset_comment(name)), encoding="utf-8"
    )
    assert load_config(path) == config


def test_every_option_is_rendered_with_its_description() -> None:
    text = presets.render_config(Config(), "heading")
    for name in Config.model_fields:
        for option, field in type(getattr(Config(), name)).model_fields.items():
            assert f"  # {field.description}\n  {option}: " in text


def test_a_changed_option_shows_its_default() -> None:
    text = presets.render_config(load_config(None, ["train.epochs=9"]), "heading")
    description = type(Config().train).model_fields["epochs"].description
    assert f"  # {description} (default: 3)\n  epochs: 9\n" in text


@pytest.mark.parametrize("value", ["5.0e-05", "1", "yes", "null", "a: b", "#x", "über", "'", "[x]"])
def test_values_that_yaml_reads_in_another_way_are_quoted(value: str, tmp_path: Path) -> None:
    config = Config.model_validate({"data": {"label": value, "classes": [value, "other"]}})
    path = tmp_path / "config.yaml"
    path.write_text(presets.render_config(config, "heading"), encoding="utf-8")
    assert load_config(path) == config


def test_each_encoder_has_a_preset_and_quickstart_is_the_first() -> None:
    assert presets.list_presets()[0] == "quickstart"
    assert {
        load_config(presets.find_preset(name)).model.encoder.partition(":")[0]
        for name in presets.list_presets()
    } == ENCODERS
    assert any(
        load_config(presets.find_preset(name)).model.freeze for name in presets.list_presets()
    )


def test_an_unknown_name_lists_the_names() -> None:
    with pytest.raises(
        ConfigError,
        match=r"nope: neither a file nor a shipped configuration .*quickstart.*ag_news_scratch",
    ):
        presets.find_preset("nope")


def test_a_file_takes_precedence_over_a_preset_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("train: {epochs: 9}")
    assert load_config(presets.find_preset("quickstart")).train.epochs == 9
