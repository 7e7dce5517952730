"""Explanations as one HTML page, and as a part of a page, without scripts or network requests.

`render_page` and `render_fragment` are pure functions. Everything that comes from texts and class
names is escaped; the table below each picture has the same values.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from components.explain.attention import WordAttention
from components.explain.explanation import Explanation, Word
from components.explain.page.pictures import MAX_DRAWN_TOKENS, draw_arcs, draw_matrix
from components.html_template import load_templates

MAX_OPEN_ROWS = 16
ATTENDED = 3
_MAX_TINT = 0.45
"""Opacity of the strongest word's colour: the text on it keeps its contrast."""


def render_page(explanations: Sequence[Explanation], facts: Mapping[str, str]) -> str:
    """The page, to be encoded as UTF-8; `facts` name the model."""
    shown = [_template_values(each, f"t{number}") for number, each in enumerate(explanations)]
    return _load_templates().get_template("page.html.j2").render(shown=shown, facts=facts)


def render_fragment(explanation: Explanation) -> str:
    """One explanation as an element for a page of somebody else, such as a notebook's."""
    name = f"x{zlib.crc32(explanation.text.encode(errors='replace')):x}"
    values = _template_values(explanation, name)
    return _load_templates().get_template("fragment.html.j2").render(item=values)


@cache
def _load_templates() -> jinja2.Environment:
    filters = {"signed": _format_signed, "score": _format_score}
    return load_templates(Path(__file__).parent, filters)


def _template_values(explanation: Explanation, name: str) -> dict[str, Any]:
    strongest = max((abs(word.weight) for word in explanation.words), default=0.0)
    return {
        "explanation": explanation,
        "segments": list(split_segments(explanation, strongest)),
        "words": [(word, _share(word, strongest)) for word in explanation.words],
        "is_open": len(explanation.words) <= MAX_OPEN_ROWS,
        "heads": [
            _attention_values(each, explanation.tokens, f"{name}-{number}")
            for number, each in enumerate(explanation.attention)
        ],
        "max_drawn": MAX_DRAWN_TOKENS,
    }


def split_segments(
    explanation: Explanation, strongest: float
) -> Iterator[tuple[str, Word | None, float]]:
    """The text in parts: a word with the strength of its colour, or what is between words.

    Words of unknown places are shown one after the other, as their pieces spell them.
    """
    position = 0
    for word in explanation.words:
        if word.start >= 0:
            yield explanation.text[position : word.start], None, 0.0
            position = word.end
        yield word.text, word, _MAX_TINT * _share(word, strongest)
        if word.start < 0:
            yield " ", None, 0.0
    if position or not explanation.words:
        yield explanation.text[position:], None, 0.0


def list_attended(weights: Sequence[float], tokens: Sequence[str]) -> list[tuple[str, float]]:
    """The tokens with the largest weights, at most ATTENDED, the largest first."""
    order = sorted(range(len(tokens)), key=lambda number: -weights[number])
    return [(tokens[number], float(weights[number])) for number in order[:ATTENDED]]


def _attention_values(attention: WordAttention, tokens: Sequence[str], name: str) -> dict[str, Any]:
    head = "mean of the heads" if attention.head is None else f"head {attention.head}"
    title = f"Layer {attention.layer}, {head}"
    is_drawn = len(tokens) <= MAX_DRAWN_TOKENS
    queries = tokens[: len(attention.weights)]
    return {
        "title": title,
        "is_single": len(queries) == 1,
        "arcs": draw_arcs(attention.weights, tokens, title, f"{name}-a") if is_drawn else None,
        "matrix": draw_matrix(attention.weights, tokens, title, f"{name}-m") if is_drawn else None,
        "rows": [
            (query, list_attended(row.tolist(), tokens))
            for query, row in zip(queries, attention.weights, strict=True)
        ],
    }


def _share(word: Word, strongest: float) -> float:
    return abs(word.weight) / strongest if strongest else 0.0


def _format_signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def _format_score(value: float) -> str:
    return f"{value:.1%}"
