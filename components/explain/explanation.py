"""An explanation: what one text's score is made of. Plain values, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from components.config.task import TaskKind
from components.explain.attention import WordAttention

SHOWN_DECIMALS = 3
MAX_DECIMALS = 12
MAX_RELATIVE_GAP = 0.05
MAX_ABSOLUTE_GAP = 0.01


def format_signed(value: float, digits: int = SHOWN_DECIMALS) -> str:
    """A number with its sign, as log-odds are shown; without a sign where all digits are 0."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def count_steps(steps: int) -> str:
    """The number of points of the integral, in words."""
    return f"{steps} step" if steps == 1 else f"{steps} steps"


@dataclass(frozen=True)
class Word:
    """A word that the model read.

    start and end: its characters in the text, -1 where they are not known. contribution: to the
    log-odds of the explained class, or to the number, by integrated gradients; None of a sealed
    encoder. occlusion: by how much these fall without the word; None where that was not computed.
    """

    text: str
    start: int
    end: int
    pieces: tuple[str, ...]
    contribution: float | None
    occlusion: float | None

    @property
    def weight(self) -> float:
        """What is shown for the word: the contribution, or the occlusion where there is none."""
        return next((v for v in (self.contribution, self.occlusion) if v is not None), 0.0)


@dataclass(frozen=True)
class Segment:
    """A part of an explained text: a word that the model read, or what is between words.

    share: the word's strength, 1 for the strongest of the text.
    is_unread: a part of the text that the model does not read.
    """

    text: str
    word: Word | None = None
    share: float = 0.0
    is_unread: bool = False


@dataclass(frozen=True)
class Explanation:
    """Why a text has the score of a class, or its number.

    label: the predicted class. scores: of each class, as `kubert predict` gives them. target: the
    class that is explained; log_odds: of its score. baseline and gap: see `IntegratedGradients`;
    None of a sealed encoder.
    agreement: rank correlation of contributions and occlusions. unread: where in the text the
    part begins that the model does not read (characters); None if it reads all of it. unread_end:
    where that part ends; None if it is the rest of the text.
    notes: what a reader must know, in sentences. is_confident: whether the largest score reaches
    the release's threshold; None without one.

    kind: of the task. Where a text can have several labels, `labels` are those that are predicted,
    and there is no `label`. Of a regression, `value` is the number, in whose units contributions
    and baseline are; it has no label, scores, target and log_odds. scale: what is a large
    difference of the evidence: 1 for log-odds, the standard deviation of numbers.
    """

    text: str
    label: str
    scores: Mapping[str, float]
    target: str
    log_odds: float | None
    baseline: float | None
    gap: float | None
    steps: int
    words: tuple[Word, ...]
    agreement: float | None
    attention: tuple[WordAttention, ...]
    unread: int | None
    notes: tuple[str, ...]
    is_confident: bool | None = None
    unread_end: int | None = None
    kind: TaskKind = "single_label"
    labels: tuple[str, ...] = ()
    value: float | None = None
    scale: float = 1.0

    @property
    def evidence(self) -> float:
        """What the contributions explain: the log-odds of the class, or the number."""
        return next((each for each in (self.log_odds, self.value) if each is not None), 0.0)

    @property
    def quantity(self) -> str:
        """What the evidence is, in words."""
        return "number" if self.kind == "regression" else "log-odds"

    @property
    def answer(self) -> str:
        """What the model answers: the label, the labels, or the number."""
        if self.value is not None:
            return self.format_amount(self.value)
        if self.kind == "multi_label":
            return ", ".join(self.labels) or "no label"
        return self.label

    def format_amount(self, value: float, extra: int = 0, *, signed: bool = False) -> str:
        """A log-odds, which has a sign, or a number, which has one if it is a difference.

        Numbers have as many decimals as show a thousandth of their standard deviation; `extra` are
        further ones.
        """
        if self.kind != "regression":
            return format_signed(value, SHOWN_DECIMALS + extra)
        decimals = SHOWN_DECIMALS + extra - math.floor(math.log10(self.scale))
        decimals = min(max(decimals, 0), MAX_DECIMALS)
        return format_signed(value, decimals) if signed else f"{value:.{decimals}f}"

    def format_change(self, value: float | None) -> str | None:
        """A contribution, or an occlusion; None where there is none."""
        return None if value is None else self.format_amount(value, signed=True)

    @property
    def tokens(self) -> tuple[str, ...]:
        """What the rows and columns of the attention stand for."""
        return ("[CLS]", *(word.text for word in self.words), "[SEP]")

    @cached_property
    def strongest(self) -> float:
        """The largest weight of a word, without its sign; 0 without words."""
        return max((abs(word.weight) for word in self.words), default=0.0)

    def share(self, word: Word) -> float:
        """The word's strength: its weight without its sign, as a share of the strongest one's."""
        return abs(word.weight) / self.strongest if self.strongest else 0.0

    def list_strongest(self, count: int) -> tuple[Word, ...]:
        """The `count` strongest words, in the order of the text."""
        if len(self.words) <= count:
            return self.words
        order = sorted(range(len(self.words)), key=lambda index: -abs(self.words[index].weight))
        return tuple(self.words[index] for index in sorted(order[:count]))

    def split_text(self) -> Iterator[Segment]:
        """The text in parts, in order.

        Words of unknown places are shown one after the other, as their pieces spell them.
        """
        position = 0
        for word in self.words:
            if word.start >= 0:
                between = self.text[position : word.start]
                yield Segment(between, is_unread=self._is_gap(between, word))
                position = word.end
            yield Segment(word.text, word, self.share(word))
            if word.start < 0:
                yield Segment(" ")
        if position or not self.words:
            yield Segment(self.text[position:], is_unread=self._has_unread_end)

    @property
    def _has_unread_end(self) -> bool:
        return self.unread is not None and self.unread_end is None

    def _is_gap(self, between: str, word: Word) -> bool:
        """Whether this is the part before a word that is not read."""
        if self.unread is None or self.unread_end is None or not between.strip():
            return False
        return self.unread < word.start <= self.unread_end

    def list_scores(self, count: int) -> list[tuple[str, float]]:
        """The classes with the `count` largest scores, the largest first, and the explained one."""
        ordered = sorted(self.scores.items(), key=lambda item: -item[1])
        return [
            (name, score)
            for number, (name, score) in enumerate(ordered)
            if number < count or name == self.target
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `kubert explain --json` prints for a text; scripts depend on these keys."""
        return {
            "text": self.text,
            **self._list_answer_fields(),
            "gap": self.gap,
            "steps": self.steps,
            "words": [
                {
                    "text": word.text,
                    "start": word.start,
                    "end": word.end,
                    "pieces": list(word.pieces),
                    "contribution": word.contribution,
                    "occlusion": word.occlusion,
                }
                for word in self.words
            ],
            "agreement": self.agreement,
            "unread_from": self.unread,
            **({} if self.unread_end is None else {"unread_to": self.unread_end}),
            "tokens": list(self.tokens),
            "attention": [
                {
                    "layer": each.layer,
                    "head": "mean" if each.head is None else each.head,
                    "weights": np.round(each.weights.astype(float), 5).tolist(),
                }
                for each in self.attention
            ],
            "notes": list(self.notes),
        }

    def _list_answer_fields(self) -> dict[str, Any]:
        if self.kind == "regression":
            return {"value": self.value, "baseline_value": self.baseline}
        is_single = self.kind == "single_label"
        return {
            **({"label": self.label} if is_single else {"labels": [*self.labels]}),
            "scores": dict(self.scores),
            **({} if self.is_confident is None else {"is_confident": self.is_confident}),
            "class": self.target,
            "log_odds": self.log_odds,
            "baseline_log_odds": self.baseline,
        }

    def __repr__(self) -> str:
        explained = (
            self.answer
            if self.value is not None
            else f"{self.target} {self.scores[self.target]:.4f}"
        )
        return f"<Explanation {explained}, {len(self.words)} words: {self.text!r}>"

    def _repr_html_(self) -> str:
        """The explanation in a notebook."""
        from components.explain.page import render_fragment

        return render_fragment(self)


def describe_choice(explanation: Explanation) -> Iterator[str]:
    """A sentence on the label that is explained, where the text has none, or several."""
    if explanation.kind != "multi_label" or len(explanation.labels) == 1:
        return
    if explanation.labels:
        yield (
            f"Of {len(explanation.labels)} labels, the one with the largest score is explained; "
            "name another one to explain that."
        )
    else:
        yield "No label reaches its threshold; the one with the largest score is explained."


def describe_preference(explanation: Explanation) -> Iterator[str]:
    """A sentence if the class is preferred without the words, and these add less than that."""
    log_odds, baseline = explanation.log_odds, explanation.baseline
    if log_odds is None or baseline is None or not explanation.words:
        return
    added = log_odds - baseline
    if baseline > 0 and added < baseline:
        is_predicted = explanation.target in (explanation.label, *explanation.labels)
        yield (
            f"The model {'prefers this class also' if is_predicted else 'would prefer this class'} "
            f"without the words (log-odds {format_signed(baseline)}); the words change "
            f"the log-odds by {format_signed(added)}."
        )


def is_gap_large(explanation: Explanation) -> bool:
    """Whether the contributions do not add up to the difference that they explain."""
    if explanation.gap is None or explanation.baseline is None:
        return False
    difference = abs(explanation.evidence - explanation.baseline)
    least = MAX_ABSOLUTE_GAP * explanation.scale
    return abs(explanation.gap) > max(least, MAX_RELATIVE_GAP * difference)
