"""An explanation without a model, of a text and class names that are hostile to pages."""

from __future__ import annotations

import numpy as np

from components.explain.attention import WordAttention
from components.explain.explanation import Explanation, Word

TEXT = 'Oil <script>fell\x07</script> "& hard'


def make_explanation(text: str = TEXT, **changes: object) -> Explanation:
    """The explanation, with other values of fields."""
    words = (
        Word("Oil", 0, 3, ("oil",), 1.25, 0.5),
        Word("<script>fell", 4, 16, ("<", "fell"), -0.5, None),
    )
    weights = np.array([[0.5, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], [0, 0, 0, 1]])
    values: dict[str, object] = {
        "text": text,
        "label": "<b>Business",
        "scores": {"<b>Business": 0.9, "World": 0.1},
        "target": "<b>Business",
        "log_odds": 2.2,
        "baseline": 1.4,
        "gap": 0.05,
        "steps": 32,
        "words": words,
        "agreement": 0.5,
        "attention": (
            WordAttention(2, None, weights.astype(np.float32)),
            WordAttention(2, 1, weights[:1].astype(np.float32)),
        ),
        "unread": 16,
        "notes": ("A note.",),
        **changes,
    }
    return Explanation(**values)  # type: ignore[arg-type]


def make_labels_explanation(**changes: object) -> Explanation:
    """The explanation of one of several labels of a text."""
    labels: dict[str, object] = {
        "label": "",
        "labels": ("<b>Business", "World"),
        "kind": "multi_label",
        "scores": {"<b>Business": 0.9, "World": 0.6},
    }
    return make_explanation(**(labels | changes))  # type: ignore[arg-type]


def make_number_explanation(**changes: object) -> Explanation:
    """The explanation of a number, whose standard deviation is 200."""
    absent: dict[str, object] = {"label": "", "scores": {}, "target": "", "log_odds": None}
    number: dict[str, object] = {
        "kind": "regression",
        "value": 1234.5678,
        "baseline": -900.0,
        "scale": 200.0,
    }
    return make_explanation(**(absent | number | changes))  # type: ignore[arg-type]
