"""Options that messages and help texts name exist: a user copies them into a configuration."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.config.schema import Config

ROOT = Path(__file__).parents[2]
FOLDERS = ("components", "pipeline")
OPTIONS = {
    name: field.annotation.model_fields.keys()  # type: ignore[union-attr]
    for name, field in Config.model_fields.items()
}
"""Names of the options by section."""
_WRITTEN = re.compile(rf"(?<![\w./-])({'|'.join(OPTIONS)})\.([a-z_]+)\b(?!\()")
_COMPOSED = re.compile(rf"\.({'|'.join(sorted({*itertools.chain(*OPTIONS.values())}))})\b")
_OTHER_MEANINGS = {
    "cluster.worker",  # a field of TF_CONFIG
    "model.safetensors",  # a file, and the others are fields of a tokenizer.json
    "model.continuing_subword_prefix",
    "model.type",
    "model.unk_token",
    "model.vocab",
    "task.fields",  # of a progress bar
    "task.index",  # a field of TF_CONFIG
}
_EXCEPT = {ROOT / "components/config/renamed_options.py"}  # it lists options of earlier versions
SOURCES = sorted({path for each in FOLDERS for path in (ROOT / each).rglob("*.py")} - _EXCEPT)


def find_unknown_options(source: str) -> list[str]:
    """The options that texts of the source name and that do not exist."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [
                match[0]
                for match in _WRITTEN.finditer(node.value)
                if match[2] not in OPTIONS[match[1]] and match[0] not in _OTHER_MEANINGS
            ]
        elif isinstance(node, ast.JoinedStr):
            found += _find_composed_options(node)
    return found


def _find_composed_options(text: ast.JoinedStr) -> Iterator[str]:
    """Names of options behind a section that is a variable: it may have no such option."""
    for value, constant in itertools.pairwise(text.values):
        if not isinstance(value, ast.FormattedValue) or not isinstance(constant, ast.Constant):
            continue
        if match := _COMPOSED.match(str(constant.value)):
            yield f"{ast.unparse(value.value)}{match[0]}"


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_every_option_that_is_named_exists(path: Path) -> None:
    assert find_unknown_options(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "unknown"),
    [
        pytest.param('"lower train.workers, cluster.cpu"', [], id="exist"),
        pytest.param('"lower score.batch_size"', ["score.batch_size"], id="other-section"),
        pytest.param('f"{a}: set gate.x or train.y"', ["train.y"], id="part-of-a-text"),
        pytest.param('f"{step}.workers={n}"', ["step.workers"], id="composed"),
        pytest.param('"train.load_checkpoint()", "a/model.bin"', [], id="no-options"),
    ],
)
def test_unknown_options_are_found(source: str, unknown: list[str]) -> None:
    assert find_unknown_options(source) == unknown
