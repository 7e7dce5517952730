"""An explanation in a terminal: the text in colours, the words as a table, and attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.errors import escape_unprintable
from pipeline.cli.tables import mark_label, print_line, print_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from components.explain.attention import WordAttention
    from components.explain.explanation import Explanation, Segment

MAX_ROWS = 20
MAX_ATTENTION_ROWS = 12
_BAR_CELLS = 10
_STRONG = 0.5
_VISIBLE = 0.1


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print one explanation; colours only where the console has them."""
    print_line(console, _describe_answer(explanation), "bold")
    if explanation.target not in (explanation.label, ",".join(explanation.labels)):
        target, score = explanation.target, explanation.scores[explanation.target]
        print_line(console, f"explained: {escape_unprintable(target)}  {score:.4f}")
    console.print(color_text(explanation), soft_wrap=True)
    print_line(console, _describe_sum(explanation))
    for note in explanation.notes:
        print_line(console, f"note: {note}")
    print_table(_word_rows(explanation))
    for attention in explanation.attention:
        _print_attention(console, attention, explanation.tokens)
    print_line(console, "")


def _describe_answer(explanation: Explanation) -> str:
    """What the model answers, with its scores, as `kubert predict` has them."""
    if explanation.value is not None:
        return explanation.answer
    names = explanation.labels if explanation.kind == "multi_label" else (explanation.label,)
    scores = ", ".join(f"{explanation.scores[name]:.4f}" for name in names)
    return f"{mark_label(explanation.answer, explanation.is_confident)}  {scores}".rstrip()


def color_text(explanation: Explanation) -> Text:
    """The text, its words blue where they speak for the class and yellow where against it."""
    from rich.text import Text

    shown = Text()
    for segment in explanation.split_text():
        style = "dim" if segment.is_unread else _style(segment)
        shown.append(escape_unprintable(segment.text), style)
    return shown


def _style(segment: Segment) -> str:
    if segment.word is None or segment.share < _VISIBLE:
        return ""
    color = "blue" if segment.word.weight > 0 else "yellow"
    return f"bold underline {color}" if segment.share > _STRONG else color


def _describe_sum(explanation: Explanation) -> str:
    from components.explain.explanation import count_steps

    sentence = explanation.quantity
    if explanation.target:
        sentence += f" of {escape_unprintable(explanation.target)}"
    sentence += f" {explanation.format_amount(explanation.evidence)}"
    if explanation.baseline is not None and explanation.gap is not None:
        gap = explanation.format_amount(explanation.gap, 1, signed=True)
        sentence += (
            f", without words {explanation.format_amount(explanation.baseline)}; "
            f"gap {gap} after {count_steps(explanation.steps)}"
        )
    if explanation.agreement is not None:
        sentence += f"; rank correlation with occlusion {explanation.agreement:.2f}"
    return sentence


def _word_rows(explanation: Explanation) -> list[dict[str, Any]]:
    """The words in the order of the text, the strongest of them if there are many."""
    rows = []
    for word in explanation.list_strongest(MAX_ROWS):
        cells = round(_BAR_CELLS * explanation.share(word))
        row = {
            "word": word.text,
            "contribution": explanation.format_change(word.contribution),
            "occlusion": explanation.format_change(word.occlusion),
            "": ("+" if word.weight > 0 else "-") * cells,
        }
        rows.append({name: value for name, value in row.items() if value is not None})
    return rows


def _print_attention(console: Console, attention: WordAttention, tokens: Sequence[str]) -> None:
    print_line(console, f"attention of {attention.name}")
    queries = list(attention.list_attended(tokens))
    rows = [
        {"word": word, "attends to": ", ".join(f"{name} {weight:.2f}" for name, weight in attended)}
        for word, attended in queries[:MAX_ATTENTION_ROWS]
    ]
    print_table(rows)
    if (more := len(queries) - MAX_ATTENTION_ROWS) > 0:
        words = "1 more word" if more == 1 else f"{more} more words"
        print_line(console, f"and {words}: see --html or --json")
