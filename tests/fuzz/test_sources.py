"""Any file, read with any options, gives examples, or one error that fits on a screen."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.config.schema import DataConfig
from components.data.labelled_text import open_dataset
from components.data.labels.class_names import ClassStatistics, build_label_map, label_text
from components.data.source_validation import validate_sources
from components.data.text_columns import text_error
from components.errors import ConfigError, DataError
from tests.fuzz.mutated_sources import (
    LABELS,
    ODD_VALUES,
    SourceDocument,
    source_documents,
)

MAX_MESSAGE_LINES = 40
MAX_MESSAGE_CHARACTERS = 8000
SHARED_DIRECTORY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_examples(data: DataConfig) -> list[tuple[str, int, int]] | str:
    """All examples (text, class index, split), or the message of the error."""
    try:
        with open_dataset(data) as dataset:
            reader = dataset.read_examples()
            passes = []
            for _ in range(2):
                examples: list[tuple[str, int, int]] = []
                for batch in reader:
                    splits = batch.splits.astype(np.int64).tolist()
                    examples += zip(map(str, batch.texts), batch.labels, splits, strict=True)
                passes.append(examples)
    except (ConfigError, DataError) as error:
        return str(error)
    assert passes[0] == passes[1]
    rejected = reader.stats.rejected.counts.total()
    assert rejected <= data.max_bad_rows
    assert len(passes[0]) + rejected == dataset.rows
    assert all(0 <= label < len(dataset.labels.classes) for _, label, _ in passes[0])
    assert not any(text_error(text) for text, _, _ in passes[0])
    return passes[0]


def check_message(message: str) -> None:
    """A message can be printed on any terminal, and is no longer than a screen or so."""
    assert message.strip()
    assert message.encode()
    assert len(message.splitlines()) <= MAX_MESSAGE_LINES, message
    assert len(message) <= MAX_MESSAGE_CHARACTERS, message
    unprintable = {
        character
        for character in message
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"
    }
    assert not unprintable, (unprintable, message)


@SHARED_DIRECTORY
@given(document=source_documents())
def test_a_file_gives_examples_or_an_error_that_fits_on_a_screen(
    tmp_path: Path, document: SourceDocument
) -> None:
    path = tmp_path / document.name
    path.write_bytes(document.content)
    data = DataConfig(source=str(path), **document.options)
    outcome = read_examples(data)
    if isinstance(outcome, str):
        check_message(outcome)
        assert document.name in outcome or "data." in outcome, outcome
        with pytest.raises((ConfigError, DataError)) as refused:
            validate_sources(data)
        assert str(refused.value) == outcome
    else:
        assert validate_sources(data) == []


label_values = st.one_of(
    st.sampled_from(LABELS), st.sampled_from(ODD_VALUES), st.text(max_size=5), st.floats()
)


@given(
    values=st.lists(label_values, max_size=30),
    configured=st.none() | st.lists(st.sampled_from(LABELS), min_size=2, max_size=4, unique=True),
    source_names=st.none() | st.just(("one", "two")),
)
def test_every_label_is_the_class_that_it_names_or_its_row_is_rejected(
    values: list[Any], configured: list[str] | None, source_names: tuple[str, str] | None
) -> None:
    statistics = ClassStatistics()
    statistics.add_rows(values)
    try:
        labels = build_label_map(statistics, configured, source_names, "rows.csv, column 'label'")
    except DataError as error:
        check_message(str(error))
        return
    found = [labels.class_index_or_error(value) for value in values]
    batch = labels.encode_batch(values)
    assert batch is None or batch == found
    assert (batch is None) == any(isinstance(index, str) for index in found)
    for value, index in zip(values, found, strict=True):
        if isinstance(index, int) and labels.numbers is None:
            assert labels.classes[index] == label_text(value)
    if configured is None and source_names is None:
        assert Counter(labels.classes).most_common(1)[0][1] == 1
        assert {*labels.classes} <= {label_text(value) for value in values}
