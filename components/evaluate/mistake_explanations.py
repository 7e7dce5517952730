"""Explanations of the most confident errors for the report, within a bound on what they cost.

The bound is on float operations, estimated from the size of the checkpoint and the lengths of the
texts, and not on time: the report must not depend on how busy a machine is.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components import progress
from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent
from components.data.text_columns import Text
from components.errors import KubertError
from components.evaluate.inputs import EvaluationInputs
from components.explain.explainer import count_gradients, count_occlusions
from components.explain.explanation import Explanation
from components.explain.options import DEFAULT_STEPS, ExplanationOptions
from components.explain.words import split_words
from components.progress import StepName
from components.scoring.test_rows import FLOPS_PER_CORE, estimate_operations
from components.workers.process_control import count_usable_cores

MAX_CORE_SECONDS = 240
"""What all explanations of a report may take, on cores of FLOPS_PER_CORE: two minutes on two."""
REDUCED_STEPS = DEFAULT_STEPS // 2
"""Tried where DEFAULT_STEPS are too many. With fewer, the gap of the contributions is too large."""
FORWARD_AND_BACKWARD = 3
"""Forward passes that cost as much as a forward and a backward pass."""
SEALED = "hub:"
PAIRS_NOTE = "The mistakes are not explained: explanations are of single texts, not of pairs."


@dataclass(frozen=True)
class ExplainedErrors:
    """Explanations of the first errors of the report, and a sentence if it has not all of them."""

    explanations: tuple[Explanation, ...] = ()
    note: str | None = None


class Explained(NamedTuple):
    """What is explained of errors: a class of each (none for the answers), by which thresholds.

    thresholds: of the classes, where a text can have several labels.
    """

    targets: Sequence[str] = ()
    thresholds: Sequence[float] = ()


ANSWERS = Explained()
"""Of each text the class that it was given, or its number."""


class Extent(NamedTuple):
    """How many errors are explained, and in how many steps."""

    errors: int
    steps: int


def explain_first_errors(
    inputs: EvaluationInputs,
    texts: Sequence[Text],
    lengths: Sequence[int],
    explained: Explained = ANSWERS,
) -> ExplainedErrors:
    """Explain the first of the errors, as many as the options say; pairs of texts are not.

    `texts` are those of all errors, `lengths` theirs in tokens.
    """
    count = inputs.config.explain_errors
    single = [text for text in texts[:count] if isinstance(text, str)]
    if not single:
        return ExplainedErrors((), PAIRS_NOTE if texts[:count] else None)
    return explain_errors(
        inputs.checkpoint,
        single,
        lengths[:count],
        explained._replace(targets=explained.targets[:count]),
    )


def explain_errors(
    checkpoint: Artifact[CheckpointContent],
    texts: Sequence[str],
    lengths: Sequence[int],
    explained: Explained = ANSWERS,
) -> ExplainedErrors:
    """Why the model gives its answers to `texts`, which have these lengths in tokens.

    The classifier is loaded in this process, after the test rows were scored. Its cost is reported
    before it is spent. An evaluation does not fail because its errors cannot be explained.
    """
    costs, reduced = (
        [
            count_operations(checkpoint, text, length, steps)
            for text, length in zip(texts, lengths, strict=True)
        ]
        for steps in (DEFAULT_STEPS, REDUCED_STEPS)
    )
    extent = choose_extent(costs, reduced, MAX_CORE_SECONDS * FLOPS_PER_CORE)
    note = describe_extent(extent, len(texts))
    if not extent.errors:
        return ExplainedErrors((), note)
    try:
        return ExplainedErrors(_explain(checkpoint, texts, extent, explained), note)
    except KubertError as error:
        return ExplainedErrors((), f"The mistakes cannot be explained: {error}.")


def count_operations(
    checkpoint: Artifact[CheckpointContent], text: str, tokens: int, steps: int
) -> float:
    """Float operations of the explanation of a text, about."""
    is_sealed = checkpoint.content.model.encoder.startswith(SEALED)
    words = min(sum(1 for _ in split_words(text)), max(0, tokens - 2))
    gradients = 0 if is_sealed else FORWARD_AND_BACKWARD * count_gradients(steps)
    return estimate_operations(
        checkpoint.manifest, tokens * (gradients + count_occlusions(words, is_sealed))
    )


def choose_extent(costs: Sequence[float], reduced: Sequence[float], limit: float) -> Extent:
    """All texts in DEFAULT_STEPS if that is within the limit, else in REDUCED_STEPS, else less.

    costs, reduced: of each text with either number of steps. The first texts are kept.
    """
    if sum(costs) <= limit:
        return Extent(len(costs), DEFAULT_STEPS)
    spent, count = 0.0, 0
    for cost in reduced:
        spent += cost
        if spent > limit:
            break
        count += 1
    return Extent(count, REDUCED_STEPS)


def describe_extent(extent: Extent, texts: int) -> str | None:
    """A sentence if not all of the texts are explained, or not in all steps."""
    if not texts or extent == (texts, DEFAULT_STEPS):
        return None
    because = (
        f"by the size of the model and of the texts, more would take longer than about "
        f"{MAX_CORE_SECONDS // 2} s on two cores"
    )
    if extent.errors == 0:
        return f"The mistakes are not explained: {because}."
    if extent.errors == texts:
        return f"Explained in {extent.steps} steps instead of {DEFAULT_STEPS}: {because}."
    return (
        f"Only the first {extent.errors} of {texts} are explained, in {extent.steps} steps instead "
        f"of {DEFAULT_STEPS}: {because}."
    )


def _explain(
    checkpoint: Artifact[CheckpointContent],
    texts: Sequence[str],
    extent: Extent,
    explained: Explained,
) -> tuple[Explanation, ...]:
    from components.explain.loading import explain_classifier  # TensorFlow takes seconds
    from components.model.restore import load_classifier
    from components.scoring.models import set_thread_counts

    set_thread_counts(count_usable_cores())
    gc.collect()  # the classifier that scored the test rows
    classifier, content, vocabulary = load_classifier(checkpoint)
    explainer = explain_classifier(
        classifier,
        vocabulary,
        content.classes,
        content.model.max_length,
        content.model.long_text_reading,
        content.task,
        explained.thresholds,
    )
    plan = explainer.plan(
        texts[: extent.errors],
        ExplanationOptions(steps=extent.steps),
        explained.targets[: extent.errors],
    )
    progress.report(StepName.EVALUATE, plan.describe_cost())
    return tuple(explainer.explain(plan))
