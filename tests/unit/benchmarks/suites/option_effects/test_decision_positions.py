"""The positions of the decisions in `sample:long`, which the data set does not say."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.suites.option_effects.decision_positions import (
    MIN_TEXTS,
    find_phrases,
    find_position,
    read_positions,
)

PHRASES = frozenset({"was refused"})


def test_half_of_the_decisions_of_the_sample_are_at_the_end() -> None:
    assert Counter(read_positions().values()) == {"beginning": 180, "middle": 120, "end": 300}


@pytest.mark.parametrize(
    ("text", "position"),
    [
        pytest.param("It was refused. A. B. C.", "beginning", id="first-sentence"),
        pytest.param("A. It was refused. B. C.", "beginning", id="second-sentence"),
        pytest.param("A. B. It was refused. C.", "middle", id="between"),
        pytest.param("A. B. C. It was refused.", "end", id="last-sentence"),
    ],
)
def test_the_sentence_with_the_phrase_decides(text: str, position: str) -> None:
    assert find_position(text, PHRASES) == position


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("It was late.", id="none"),
        pytest.param("It was refused. So was refused.", id="two"),
    ],
)
def test_a_text_needs_exactly_one_such_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="sentences look like the decision"):
        find_position(text, PHRASES)


def test_phrases_are_frequent_and_have_one_label() -> None:
    texts = ["all agreed. the end", "all refused. the end"] * MIN_TEXTS + ["a rare phrase"]
    labels = ["yes", "no"] * MIN_TEXTS + ["yes"]
    assert find_phrases(texts, labels) == {"all agreed", "all refused"}
