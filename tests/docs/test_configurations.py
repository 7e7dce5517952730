"""The YAML blocks in the documents are configurations that kubert accepts."""

from __future__ import annotations

import pytest

from tests.support.documents.configuration_blocks import check_yaml_block
from tests.support.documents.markdown_blocks import (
    Block,
    DocumentError,
    Marks,
    parse_blocks,
    read_blocks,
)
from tests.support.documents.page_directory import ROOT, find_pages


def yaml_block(*lines: str, needs: frozenset[str] = frozenset()) -> Block:
    return Block("page.md", 5, "yaml", lines, Marks(needs))


@pytest.mark.parametrize("page", find_pages())
def test_configurations_of_a_page_are_valid(page: str) -> None:
    for each in read_blocks(ROOT / page, page):
        if each.language in ("yaml", "yml"):
            check_yaml_block(each)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(("data:", "  source: a.csv", "train:", "  epochs: 3"), id="two-sections"),
        pytest.param(("# comment", "model:", "  encoder: scratch"), id="comment"),
        pytest.param(("train:", "  workers: 64"), id="rule-with-an-option-that-is-not-shown"),
        pytest.param(("apiVersion: v1", "kind: Pod", "---", "apiVersion: v1", "kind: X"), id="pod"),
    ],
)
def test_parts_of_configurations_and_kubernetes_objects_are_accepted(
    lines: tuple[str, ...],
) -> None:
    check_yaml_block(yaml_block(*lines))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(("training:", "  epochs: 3"), "training: Extra inputs", id="section"),
        pytest.param(("train:", "  epoch: 3"), "train.epoch: Extra inputs", id="option"),
        pytest.param(("train:", "  epochs: 0"), "train.epochs: Input should be", id="value"),
        pytest.param(("train:", "  patience: 2"), "train.patience", id="renamed-option"),
        pytest.param(("- a",), "a list instead of sections", id="list"),
        pytest.param(("train: {", "x"), "page.md:5: not YAML", id="not-yaml"),
        pytest.param(("apiVersion: v1", "kind: Pod", "---", "a: 1"), "one YAML", id="documents"),
    ],
)
def test_wrong_configurations_are_refused(lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        check_yaml_block(yaml_block(*lines))


def test_a_block_with_needs_may_be_any_yaml() -> None:
    (block,) = parse_blocks("<!-- needs: cluster -->\n```yaml\nimages: []\n```\n", "page.md")
    check_yaml_block(block)
