"""Examples of a dataset as a list of single rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

from components.data.labelled_text import ExampleBatch
from components.data.split_names import SPLITS, SplitName


class Example(NamedTuple):
    """A valid row: its split, its text and the index of its class."""

    split: SplitName
    text: str
    label: int


def list_examples(batches: Iterable[ExampleBatch]) -> list[Example]:
    """Collect the examples one by one."""
    return [
        Example(SPLITS[split], cast(str, text), label)
        for texts, labels, splits in batches
        for text, label, split in zip(texts, labels, splits.tolist(), strict=True)
    ]
