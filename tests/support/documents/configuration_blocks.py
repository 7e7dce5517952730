"""Validates the YAML configurations that pages show against the schema."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import ValidationError

from components.config.schema import Config
from tests.support.documents.markdown_blocks import Block, DocumentError


def check_yaml_block(block: Block) -> None:
    """DocumentError unless the block is a configuration, a part of one, or Kubernetes objects.

    With a mark `needs:` it may be any YAML, such as a kustomize file.
    """
    try:
        documents = [each for each in yaml.safe_load_all(block.text) if each is not None]
    except yaml.YAMLError as error:
        raise DocumentError(f"{block.location}: not YAML: {error}") from None
    if block.marks.needs or (documents and all(map(_is_kubernetes_object, documents))):
        return
    if len(documents) != 1:
        raise DocumentError(f"{block.location}: a configuration is one YAML document")
    if problems := find_problems(documents[0]):
        raise DocumentError("\n".join([f"{block.location}: not a configuration:", *problems]))


def find_problems(values: Any) -> list[str]:
    """What is wrong with a configuration of which options may be missing."""
    if not isinstance(values, dict):
        return [f"a {type(values).__name__} instead of sections"]
    try:
        Config.model_validate(values)
    except ValidationError as error:
        # A rule over several options fails at a whole section; the page may show only some.
        return [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors()
            if not (each["type"] == "value_error" and len(each["loc"]) < 2)
        ]
    return []


def _is_kubernetes_object(document: Any) -> bool:
    return isinstance(document, dict) and {"apiVersion", "kind"} <= document.keys()
