"""What the gate has to know of a candidate, whatever its kind of task, and of how it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from components.artifacts.gate_decision import PairedDifference
from components.artifacts.release import ReleaseContent
from components.config.schema import EvaluateConfig
from components.gate.requirements import Failure

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """How a candidate compares with the champion on the same rows.

    champion: its main metric in words. order: 1 if the candidate is better, 0 if they are equal, -1
    if it is worse. difference: of the metric that `evaluate.champion_margin` is about, above 0 if
    the candidate is better; None for a champion of the same checkpoint. differences: of all
    metrics. fields: of the decision. difference_title: what the difference is of, in words.
    """

    champion: str
    order: int
    difference: PairedDifference | None = None
    differences: Mapping[str, PairedDifference] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    difference_title: str = "difference"

    def reaches(self, margin: float) -> bool:
        """Whether the measured difference is at least the margin."""
        return self.difference is None or self.difference.difference >= margin


class PairedRows(Protocol):
    """Collects what both models predict of the test rows."""

    def add(self, labels: npt.NDArray[Any], candidate: npt.NDArray[Any], champion: Values) -> None:
        """Add rows: labels and predictions of the candidate, and the champion's values."""

    def compare(self) -> Comparison:
        """How the two compare on all rows."""


class Candidate(Protocol):
    """A candidate whose report is verified."""

    def describe_metric(self) -> str:
        """Its main metric, with the number of rows."""

    def describe_reached(self, config: EvaluateConfig) -> str:
        """The same, with the limit that it reaches."""

    def describe_baseline(self, config: EvaluateConfig) -> str:
        """What a model without any knowledge of the texts reaches."""

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the decision."""

    def list_failures(self, config: EvaluateConfig) -> list[Failure]:
        """What it fails by itself, all of it."""

    def pair_with(self, champion: ReleaseContent, classes: Sequence[str]) -> PairedRows:
        """Collects the rows of a comparison; `classes` are the candidate's."""

    def equal_itself(self) -> Comparison:
        """The comparison with a champion of the same checkpoint."""
