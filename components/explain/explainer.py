"""Explains texts with a model: scores, contributions of words, and attention.

`plan` reads and scores the texts and says what an explanation will cost; `explain` computes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from components.artifacts.predictions import select_labels
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.confidence.threshold import are_confident
from components.errors import KubertError, UsageError
from components.explain import attribution
from components.explain.attention import WordAttention, select_attention
from components.explain.explanation import (
    Explanation,
    Word,
    describe_choice,
    describe_preference,
    is_gap_large,
)
from components.explain.options import MAX_STEPS, ExplanationOptions
from components.explain.pass_cost import measure_cost
from components.explain.words import TokenizedText, WordSpan, match_words, split_words

Floats = npt.NDArray[np.float32]

MAX_OCCLUDED_WORDS = 50
"""Occlusion needs a pass per word, so it is a check of short texts only."""
OTHER_PASSES = 4
"""Passes of one row for each text: of its own, of the embeddings, and of the attention."""
MAX_SCORE_DIFFERENCE = 1e-3
"""Beyond rounding, also in bfloat16, where the served products are the same operations."""
UNKNOWN = "[UNK]"


class ExplainedModel(attribution.DifferentiableModel, attribution.ScoringModel, Protocol):
    """What an explanation asks of a model; `graph_model.GraphModel` is one."""

    is_sealed: bool

    def attend(self, ids: npt.NDArray[np.int32]) -> list[Floats]:
        """The attention of each layer: [texts, heads, queries, tokens]."""


@dataclass(frozen=True)
class PlannedText:
    """A text with its pieces, its words and its scores [classes].

    target: the class that is explained, or None for the one with the largest score.
    """

    text: str
    tokenized: TokenizedText
    words: tuple[WordSpan, ...]
    scores: Floats
    target: str | None = None

    @property
    def read_words(self) -> list[WordSpan]:
        """The words of which the model reads at least a piece."""
        return [word for word in self.words if self.tokenized.list_tokens(word)]


@dataclass(frozen=True)
class ExplanationPlan:
    """The texts to explain, and what that will cost.

    seconds: as measured with the longest text on this machine; tracing is over.
    """

    texts: tuple[PlannedText, ...]
    options: ExplanationOptions
    forward_passes: int
    gradient_passes: int
    seconds: float

    def describe_cost(self) -> str:
        """The cost in one line."""
        passes = [
            f"{count:,} {name} passes"
            for count, name in (
                (self.gradient_passes, "forward and backward"),
                (self.forward_passes, "forward"),
            )
            if count
        ]
        texts = "1 text" if len(self.texts) == 1 else f"{len(self.texts):,} texts"
        return f"explaining {texts}: {' and '.join(passes) or 'no passes'}, " + (
            f"about {self.seconds:.0f} s" if self.seconds >= 1 else "less than a second"
        )


@dataclass(frozen=True)
class Explainer:
    """A model with its tokenizer and its classes.

    score: texts -> scores as they are served, float32 [texts, classes or 1]; explanations are
    refused if the graph that they are computed from does not give the same. threshold: of answers
    that are confident. thresholds: of the classes, where a text can have several labels.
    """

    model: ExplainedModel
    tokenize: Callable[[Sequence[str]], list[TokenizedText]]
    score: Callable[[Sequence[str]], Floats]
    classes: Sequence[str]
    threshold: float | None = None
    task: TaskInfo = SINGLE_LABEL
    thresholds: Sequence[float] = ()

    def plan(
        self, texts: Sequence[str], options: ExplanationOptions, targets: Sequence[str] = ()
    ) -> ExplanationPlan:
        """Read and score the texts; `targets` are classes for each, instead of the options' one.

        UsageError for another number of steps than 1 to MAX_STEPS, and for a class, layer or head
        that is not there.
        """
        if not 1 <= options.steps <= MAX_STEPS:
            raise UsageError(f"steps={options.steps}: must be from 1 to {MAX_STEPS:,}")
        chosen: Sequence[str | None] = targets or [options.target] * len(texts)
        for target in {*chosen, options.target} - {None}:
            self._check_target(target)
        planned = [
            replace(text, target=target)
            for text, target in zip(self._read_texts(texts), chosen, strict=True)
        ]
        forward = [self._count_occlusions(text) for text in planned]
        gradients = [self._count_gradients(text, options) for text in planned]
        seconds = 0.0
        if planned:
            longest = max(planned, key=lambda text: len(text.tokenized.ids))
            self._check_graph(longest, options)
            lengths = [len(text.tokenized.ids) for text in planned]
            seconds = self._estimate_seconds(longest, lengths, forward, gradients)
        return ExplanationPlan(tuple(planned), options, sum(forward), sum(gradients), seconds)

    def explain(self, plan: ExplanationPlan) -> Iterator[Explanation]:
        """One explanation per text, in order."""
        for text in plan.texts:
            yield self._explain_text(text, plan.options)

    def _check_target(self, target: str | None) -> None:
        if self.task.kind == "regression":
            raise UsageError(
                f"target={target}: the model predicts numbers and has no classes; leave it out"
            )
        if target not in self.classes:
            raise UsageError(
                f"target={target}: the model has the classes {', '.join(self.classes)}"
            )

    def _read_texts(self, texts: Sequence[str]) -> list[PlannedText]:
        spans = [list(split_words(text)) for text in texts]
        parts = [text[a:b] for text, own in zip(texts, spans, strict=True) for a, b in own]
        tokenized, words = self.tokenize(texts), iter(self.tokenize(parts) if parts else [])
        scores = self.score(texts) if texts else ()
        return [
            PlannedText(text, whole, match_words(text, whole, [next(words) for _ in own], own), row)
            for text, whole, own, row in zip(texts, tokenized, spans, scores, strict=True)
        ]

    def _check_graph(self, text: PlannedText, options: ExplanationOptions) -> None:
        """KubertError if the graph gives other scores than are served."""
        logits = self.model.compute_logits(text.tokenized.ids[np.newaxis])[0]
        scores = attribution.compute_scores(logits, self.task.kind)
        difference = float(np.abs(scores - text.scores).max()) / self._scale
        if not difference <= MAX_SCORE_DIFFERENCE:
            raise KubertError(
                f"the model's graph gives scores that differ by {difference:.2g} from the served "
                "ones, so it cannot be explained; export it again with this version of kubert"
            )
        if not self.model.is_sealed:
            first = text.tokenized.ids[: len(text.tokenized.ids) // text.tokenized.windows]
            self._attend(first, options, ())
        elif options.attention.layers not in ("last", "all", ()):
            layers = ",".join(map(str, options.attention.layers))
            raise UsageError(
                f"layers={layers}: the encoder is a sealed graph (hub:), whose attention is inside "
                "of it"
            )

    def _estimate_seconds(
        self,
        longest: PlannedText,
        lengths: Sequence[int],
        forward: Sequence[int],
        gradients: Sequence[int],
    ) -> float:
        """Seconds of the passes of texts of these lengths in tokens, as measured with one text."""
        ids = longest.tokenized.ids[np.newaxis]
        cost = measure_cost(
            lambda rows: self.model.compute_logits(ids.repeat(rows, 0)), len(ids[0])
        )
        other = len(lengths) * OTHER_PASSES * cost.estimate_seconds(1, len(ids[0]))
        seconds = other + sum(map(cost.estimate_seconds, forward, lengths))
        if any(gradients):
            points = self.model.embed(ids)
            cost = measure_cost(
                lambda rows: self.model.differentiate(
                    ids.repeat(rows, 0), points.repeat(rows, 0), 0
                ),
                len(ids[0]),
            )
            seconds += sum(map(cost.estimate_seconds, gradients, lengths))
        return seconds

    def _count_occlusions(self, text: PlannedText) -> int:
        return count_occlusions(len(text.read_words), self.model.is_sealed)

    def _count_gradients(self, text: PlannedText, options: ExplanationOptions) -> int:
        if self.model.is_sealed:
            return 0
        return count_gradients(options.steps) if text.words else 0

    @property
    def _scale(self) -> float:
        """What a difference of the evidence is compared with: 1 for log-odds."""
        return self.task.scale[1]

    def _explain_text(self, text: PlannedText, options: ExplanationOptions) -> Explanation:
        ids, padding, kind = text.tokenized.ids, text.tokenized.padding, self.task.kind
        best = int(text.scores.argmax())
        target = best if text.target is None else self.classes.index(text.target)
        tokens = [text.tokenized.list_tokens(word) for word in text.read_words]
        occlusions: list[float] | None = None
        if self._count_occlusions(text):
            occlusions = attribution.occlude_words(self.model, ids, padding, target, tokens, kind)
        logits = self.model.compute_logits(ids[np.newaxis])
        evidence = float(attribution.compute_evidence(logits, target, kind)[0])
        gradients: attribution.IntegratedGradients | None = None
        attention: tuple[WordAttention, ...] = ()
        if not self.model.is_sealed:
            steps = options.steps if text.words else 1
            gradients = attribution.integrate_gradients(self.model, ids, padding, target, steps)
            if text.tokenized.windows == 1:
                ranges = [(each[0], each[-1] + 1) for each in tokens]
                attention = self._attend(ids, options, ranges)
        words = _build_words(text, tokens, gradients, occlusions)
        unread, unread_end = _find_unread(text)
        agreement = None
        if gradients is not None and occlusions is not None:
            contributions = [word.contribution or 0.0 for word in words]
            agreement = attribution.rank_correlation(contributions, occlusions)
        explanation = Explanation(
            text=text.text,
            **self._describe_answer(text.scores, target),
            log_odds=None if kind == "regression" else evidence,
            baseline=None if gradients is None else gradients.baseline,
            gap=None if gradients is None else gradients.gap,
            steps=0 if gradients is None else options.steps,
            words=words,
            agreement=agreement,
            attention=attention,
            unread=unread,
            unread_end=unread_end,
            notes=(),
            kind=kind,
            scale=self._scale,
        )
        notes = (
            *_list_notes(text, explanation, self.model.is_sealed, occlusions),
            *(describe_choice(explanation) if text.target is None else ()),
            *describe_preference(explanation),
        )
        return replace(explanation, notes=notes)

    def _describe_answer(self, scores: Floats, target: int) -> dict[str, Any]:
        """The fields of an explanation that say what the model answers, and what is explained."""
        if self.task.kind == "regression":
            return {"label": "", "scores": {}, "target": "", "value": float(str(scores[0]))}
        fields = {"scores": _name_scores(self.classes, scores), "target": self.classes[target]}
        if self.task.kind == "multi_label":
            (predicted,) = select_labels(scores[np.newaxis], self.thresholds)
            return {
                **fields,
                "label": "",
                "labels": (*itertools.compress(self.classes, predicted),),
            }
        is_confident = (
            None
            if self.threshold is None
            else bool(are_confident(scores[np.newaxis], self.threshold)[0])
        )
        label = self.classes[int(scores.argmax())]
        return {**fields, "label": label, "is_confident": is_confident}

    def _attend(
        self,
        ids: npt.NDArray[np.int32],
        options: ExplanationOptions,
        ranges: Sequence[tuple[int, int]],
    ) -> tuple[WordAttention, ...]:
        if options.attention.layers == ():
            return ()
        layers = [layer[0] for layer in self.model.attend(ids[np.newaxis])]
        return select_attention(layers, options.attention, ranges)


def count_occlusions(words: int, is_sealed: bool) -> int:
    """Forward passes of the occlusions of a text."""
    return words + 1 if words and (is_sealed or words <= MAX_OCCLUDED_WORDS) else 0


def count_gradients(steps: int) -> int:
    """Forward and backward passes of the integrated gradients of a text."""
    return steps + 2


def _build_words(
    text: PlannedText,
    tokens: Sequence[Sequence[int]],
    gradients: attribution.IntegratedGradients | None,
    occlusions: Sequence[float] | None,
) -> tuple[Word, ...]:
    return tuple(
        Word(
            text=word.text,
            start=word.start,
            end=word.end,
            pieces=text.tokenized.list_read_pieces(word),
            contribution=None
            if gradients is None
            else float(gradients.contributions[[*own]].sum()),
            occlusion=None if occlusions is None else occlusions[number],
        )
        for number, (word, own) in enumerate(zip(text.read_words, tokens, strict=True))
    )


def _find_unread(text: PlannedText) -> tuple[int | None, int | None]:
    """Where the first word begins that is not read, or only in part, and the next one that is."""
    words = [word for word in text.words if word.start >= 0]
    unread = [number for number, word in enumerate(words) if not text.tokenized.is_read(word)]
    if not unread:
        return None, None
    behind = words[unread[-1] + 1 :]
    return words[unread[0]].start, behind[0].start if behind else None


def _list_notes(
    text: PlannedText,
    explanation: Explanation,
    is_sealed: bool,
    occlusions: Sequence[float] | None,
) -> Iterator[str]:
    words = explanation.words
    if is_sealed:
        yield (
            "The encoder is a sealed graph, so that its gradients and its attention cannot be "
            "seen; words are occluded instead."
        )
    if not words:
        yield "The text has no word that the model reads."
    tokenized = text.tokenized
    if tokenized.windows > 1:
        yield (
            f"The text is read in {tokenized.windows} windows, whose logits are averaged. A word "
            "in two of them has the sum of both contributions; attention is within a window, and "
            "is shown for texts of one window only."
        )
    if unread := sum(not tokenized.is_read(word) for word in text.words):
        is_end = not tokenized.is_read(text.words[-1])
        where = f"the last {unread:,}" if is_end else f"{unread:,} in the middle"
        yield (
            f"The model reads {len(tokenized.ids)} tokens of a text; {where} of "
            f"{len(text.words):,} words are not read, or not to their end."
        )
    if unknown := sum(UNKNOWN in word.pieces for word in words):
        yield f"{unknown:,} of {len(words):,} words are not in the vocabulary ({UNKNOWN})."
    if explanation.gap is not None and is_gap_large(explanation):
        yield (
            f"The contributions miss {explanation.format_amount(explanation.gap, signed=True)} of "
            f"the {explanation.quantity}: the integral is not exact; use more steps."
        )
    if words and occlusions is None:
        yield (
            f"The text has more than {MAX_OCCLUDED_WORDS} words, so that they were not occluded "
            "one by one."
        )


def _name_scores(classes: Sequence[str], scores: Floats) -> Mapping[str, float]:
    return {name: float(score) for name, score in zip(classes, scores, strict=True)}
