"""YAML that cannot be read as it is meant: refused with the key or the value, and its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config.loading import load_config
from components.errors import ConfigError


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        pytest.param("data.end_time", "2026-02-30", "'2026-02-30' is no possible value", id="date"),
        pytest.param("train.epochs", "9" * 5000, "5000 digits", id="digits"),
        pytest.param("train.epochs", "0x" + "f" * 5000, "the number is too large", id="hex"),
        pytest.param(
            "train.epochs", "!!int many", "'many' is no possible value", id="tag-of-a-number"
        ),
        pytest.param("train.epochs", "!!bool many", "does not fit its tag", id="tag-of-a-boolean"),
        pytest.param("data.source", "[" * 3000, "values are nested too deeply", id="nested"),
        pytest.param(
            "train.class_weights",
            f"{{a: {'9' * 400}, b: 1}}",
            "the number is too large",
            id="larger-than-a-float",
        ),
        pytest.param(
            "evaluate.minimum",
            "{macro_f1: 0.5, accuracy: 1, macro_f1: 0.6}",
            "the key 'macro_f1' is given twice, first in line ",
            id="key-twice",
        ),
    ],
)
def test_a_value_that_yaml_cannot_hold_is_refused_with_line_and_column(
    tmp_path: Path, option: str, value: str, message: str
) -> None:
    section, _, name = option.partition(".")
    path = tmp_path / "mine.yaml"
    path.write_text(f"{section}:\n  {name}: {value}\n")
    with pytest.raises(ConfigError, match=rf"mine\.yaml: line 2, column \d+: .*{message}"):
        load_config(path)
    with pytest.raises(ConfigError, match=rf"^--set {option}: .*{message}"):
        load_config(None, [f"{option}={value}"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("data: {}\ntrain: {}\ndata: {}\n", 3, id="section"),
        pytest.param("data:\n  source: a.csv\n  'source': b.csv\n", 3, id="option"),
        pytest.param("train:\n  class_weights:\n    7: 1\n    8: 1\n    7: 2\n", 5, id="class"),
    ],
)
def test_a_key_that_a_file_has_twice_is_refused(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"line {line}, column \d: the key '\w+' is given twice"):
        load_config(path)


def test_a_key_that_is_merged_may_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("train: &shared {epochs: 1}\ntokenize: {<<: {threads: 1}, threads: 2}\n")
    assert load_config(path).tokenize.threads == 2
