"""Explanations as one HTML page, and as a part of a page, without scripts or network requests.

`render_page` and `render_fragment` are pure functions. Everything that comes from texts and class
names is escaped; the table below each picture has the same values.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from components.explain.attention import ATTENDED, WordAttention
from components.explain.explanation import Explanation, Segment, count_steps
from components.explain.page.pictures import MAX_DRAWN_TOKENS, draw_arcs, draw_matrix
from components.html_template import load_templates

MAX_OPEN_ROWS = 16
MAX_PART_ROWS = 40
MAX_SCORES = 5
MAX_UNREAD_CHARACTERS = 300
"""Of what the model does not read, the page shows the beginning."""
_MAX_TINT = 0.45
"""Opacity of the strongest word's colour: the text on it keeps its contrast."""


def render_page(explanations: Sequence[Explanation], facts: Mapping[str, str]) -> str:
    """The page, to be encoded as UTF-8; `facts` name the model."""
    shown = [
        _template_values(each, f"t{number}", f", text {number}")
        for number, each in enumerate(explanations, 1)
    ]
    return _load_templates().get_template("page.html.j2").render(shown=shown, facts=facts)


def render_fragment(explanation: Explanation) -> str:
    """One explanation as an element for a page of somebody else, such as a notebook's."""
    name = f"x{zlib.crc32(explanation.text.encode(errors='replace')):x}"
    values = _template_values(explanation, name)
    return _load_templates().get_template("fragment.html.j2").render(item=values)


def render_parts(explanations: Sequence[Explanation], name: str) -> list[Markup]:
    """Each explanation, short, for a page that has `render_style` in it.

    The parts belong into elements of the class `kx`. Ids begin with `x`, a number from 1 and `-`;
    labels end with `name` and the number. Of long texts, the strongest MAX_PART_ROWS words are
    listed, and attention is left out.
    """
    template = _load_templates().get_template("part.html.j2")
    shown = [
        _template_values(each, f"x{number}", f", {name} {number}", is_part=True)
        for number, each in enumerate(explanations, 1)
    ]
    return [Markup(template.render(item=item)) for item in shown]  # noqa: S704 - templates escape


def render_style() -> Markup:
    """The style sheet of explanations, for a page that has parts of `render_parts` in it."""
    return Markup(_load_templates().get_template("style.css.j2").render())  # noqa: S704 - constant


@cache
def _load_templates() -> jinja2.Environment:
    filters: dict[str, Callable[..., Any]] = {
        "minus": _format_minus,
        "score": _format_score,
        "steps": count_steps,
    }
    return load_templates(Path(__file__).parent, filters)


def _template_values(
    explanation: Explanation, name: str, suffix: str = "", is_part: bool = False
) -> dict[str, Any]:
    scores = explanation.list_scores(MAX_SCORES)
    words = explanation.list_strongest(MAX_PART_ROWS) if is_part else explanation.words
    is_drawn = len(explanation.tokens) <= MAX_DRAWN_TOKENS
    return {
        "explanation": explanation,
        "suffix": suffix,
        "scores": scores,
        "hidden_scores": len(explanation.scores) - len(scores),
        "segments": [_segment_values(each) for each in explanation.split_text()],
        "words": [(word, explanation.share(word)) for word in words],
        "sides": ("raises", "lowers") if explanation.kind == "regression" else ("for", "against"),
        "is_part": is_part,
        "is_open": not is_part and len(words) <= MAX_OPEN_ROWS,
        "heads": [
            _attention_values(each, explanation.tokens, f"{name}-{number}", is_part)
            for number, each in enumerate(explanation.attention)
            if is_drawn or not is_part
        ],
        "max_drawn": MAX_DRAWN_TOKENS,
    }


def _segment_values(segment: Segment) -> dict[str, Any]:
    text = segment.text
    if segment.is_unread and len(text) > MAX_UNREAD_CHARACTERS:
        text = f"{text[:MAX_UNREAD_CHARACTERS]}\N{HORIZONTAL ELLIPSIS}"
    return {"segment": segment, "text": text, "tint": _MAX_TINT * segment.share}


def _attention_values(
    attention: WordAttention, tokens: Sequence[str], name: str, is_part: bool
) -> dict[str, Any]:
    title = f"L{attention.name[1:]}"
    arcs = matrix = None
    if len(tokens) <= MAX_DRAWN_TOKENS:
        max_arcs = ATTENDED if is_part else None
        arcs = draw_arcs(attention.weights, tokens, title, f"{name}-a", max_arcs)
        if not is_part:
            matrix = draw_matrix(attention.weights, tokens, title, f"{name}-m")
    return {
        "title": title,
        "is_single": len(attention.weights) == 1,
        "arcs": arcs,
        "matrix": matrix,
        "rows": list(attention.list_attended(tokens)),
    }


def _format_minus(value: str | None) -> str:
    return "" if value is None else value.replace("-", "\N{MINUS SIGN}")


def _format_score(value: float) -> str:
    return f"{value:.1%}"
