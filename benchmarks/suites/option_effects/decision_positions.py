"""Where in a text of `sample:long` its decision is: at the beginning, in the middle or at the end.

The data set does not say it. A decision is the one sentence of a text with a phrase that occurs in
many texts and always with the same label.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from components.data.sample import SAMPLE_FILES

Position = Literal["beginning", "middle", "end"]
POSITIONS: tuple[Position, ...] = ("beginning", "middle", "end")
MIN_TEXTS = 12
"""Texts that have a phrase of a decision; fewer have a phrase with one label by chance."""
_SENTENCE_END = re.compile(r"(?<=\.) ")


def read_positions() -> dict[str, Position]:
    """The position of the decision in each text of `sample:long`."""
    with SAMPLE_FILES["sample:long"].open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    texts = [row["minutes"] for row in rows]
    phrases = find_phrases(texts, [row["decision"] for row in rows])
    return {text: find_position(text, phrases) for text in texts}


def find_phrases(texts: Sequence[str], labels: Sequence[str]) -> frozenset[str]:
    """The pairs of words that occur in at least MIN_TEXTS texts, all of them with one label."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text, label in zip(texts, labels, strict=True):
        sentences = _SENTENCE_END.split(text)
        for phrase in {phrase for sentence in sentences for phrase in _list_phrases(sentence)}:
            counts[phrase][label] += 1
    return frozenset(
        phrase
        for phrase, by_label in counts.items()
        if len(by_label) == 1 and by_label.total() >= MIN_TEXTS
    )


def find_position(text: str, phrases: frozenset[str]) -> Position:
    """Where the sentence with one of the phrases is: first or second, last, or between.

    Raises ValueError unless exactly one sentence has one.
    """
    sentences = _SENTENCE_END.split(text)
    found = [
        number
        for number, sentence in enumerate(sentences)
        if not phrases.isdisjoint(_list_phrases(sentence))
    ]
    if len(found) != 1:
        raise ValueError(f"{len(found)} sentences look like the decision in {text[:60]!r}")
    if found[0] == len(sentences) - 1:
        return "end"
    return "beginning" if found[0] < 2 else "middle"


def _list_phrases(sentence: str) -> Iterable[str]:
    words = re.findall(r"[a-z]+", sentence.lower())
    return (f"{first} {second}" for first, second in itertools.pairwise(words))
