"""What to explain of texts. Imports nothing, so that commands can check their arguments early."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

DEFAULT_STEPS = 32
MAX_STEPS = 10_000


@dataclass(frozen=True)
class AttentionChoice:
    """The layers and heads to show, counted from 1; no layers for no attention."""

    layers: tuple[int, ...] | Literal["last", "all"] = "last"
    heads: tuple[int, ...] | Literal["mean", "all"] = "mean"


@dataclass(frozen=True)
class ExplanationOptions:
    """What to explain. target: a class, or None for the one that each text is predicted to be of.

    steps: points of the integral, 1 to MAX_STEPS, each a forward and a backward pass.
    """

    target: str | None = None
    steps: int = DEFAULT_STEPS
    attention: AttentionChoice = field(default_factory=AttentionChoice)
