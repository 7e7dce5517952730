from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.errors import UsageError
from pipeline.api.arguments import (
    check_function,
    check_single_texts,
    list_texts,
    read_choice,
    read_columns,
    read_integer,
    read_location,
    read_sources,
    read_word,
)

LAYERS = ("last", "all", "none")


@pytest.mark.parametrize("given", ["title, body", ["title", "body"], ("title", "body")])
def test_columns_are_a_text_as_the_command_takes_it_or_a_list(given: Any) -> None:
    assert read_columns("text", given) == ("title", "body")


def test_a_source_is_a_path_or_a_text_or_several() -> None:
    assert read_sources(Path("a.csv")) == ["a.csv"]
    assert read_sources("gs://bucket/*.csv") == ["gs://bucket/*.csv"]
    assert read_sources([Path("a.csv"), "b.csv"]) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(6, (6,), id="number"),
        pytest.param(np.int64(6), (6,), id="numpy-number"),
        pytest.param([1, 6, 1], (1, 6), id="list"),
        pytest.param(range(1, 3), (1, 2), id="range"),
        pytest.param("1, 6", (1, 6), id="as-the-command"),
        pytest.param("last", "last", id="word"),
        pytest.param([], (), id="none"),
    ],
)
def test_layers_are_numbers_or_a_word(given: Any, expected: Any) -> None:
    assert read_choice("layers", given, LAYERS) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_choice("layers", "foo", LAYERS), "layers foo: write numbers from 1"),
        (lambda: read_choice("layers", 0, LAYERS), "layers=0: give a whole number of 1 or more"),
        (lambda: read_choice("heads", [1.5], ("mean",)), "heads=1.5: give a whole number"),  # type: ignore[list-item]
        (lambda: read_choice("heads", 1.5, ("mean",)), "heads: give a number"),  # type: ignore[arg-type]
        (lambda: read_integer("steps", 1.5, 1), "steps=1.5: give a whole number"),  # type: ignore[arg-type]
        (lambda: read_integer("steps", True, 1), "steps=True: give a whole number"),
        (lambda: read_integer("workers", -1, 0), "workers=-1: give a whole number of 0 or more"),
        (lambda: read_word("file_format", "xml", ("csv", "jsonl")), "file_format=xml: must be csv"),
        (lambda: read_columns("keep", 3), "keep: give a name, or a list of names, not int"),  # type: ignore[arg-type]
        (lambda: read_columns("keep", "a,,b"), "keep 'a,,b': has an empty name"),
        (lambda: read_columns("keep", ["a", 1]), "keep="),  # type: ignore[list-item]
        (lambda: read_sources(3), "source: give a file, or a list of files, not int"),  # type: ignore[arg-type]
        (lambda: read_sources([None]), "source: give a path or a URI, not None"),  # type: ignore[list-item]
        (lambda: read_location("to", None), "to: give a path or a URI, not None"),  # type: ignore[arg-type]
        (lambda: list_texts(None), "texts: give a string, or a list of them, not None"),  # type: ignore[arg-type]
        (lambda: list_texts(3), "texts: give a string, or a list of them, not int"),  # type: ignore[arg-type]
        (lambda: list_texts(b"abc"), "texts: give a string, or a list of them, not bytes"),
        (lambda: check_single_texts(["a", ("b", "c")]), r"texts\[1\]: .* not tuple"),
        (lambda: check_function("show", "x"), "show: give a function of one event, not str"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_names_the_argument(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
