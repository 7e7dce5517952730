"""Labels of all kinds of task: what they are, and how a value that was read becomes one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Label = int | float | tuple[int, ...]
"""The label of a row: a class index; a number; or, of a row with several labels, the indices of
their classes, ascending. Those of one source are all of one kind."""


class UnusableLabel(NamedTuple):
    """Why a value is no label; `value` is shown beside the reason, unless it is None.

    `column` is the one that is meant where several columns hold the labels.
    """

    reason: str
    value: Any = None
    column: str = ""


class LabelStatistics(Protocol):
    """What a first pass counts of the labels of a source.

    `counts` has the rows of each class name, `without_label` the rows without a usable label by
    reason.
    """

    rows: int
    counts: Counter[str]
    without_label: Counter[str]

    def add_rows(self, values: Sequence[Any]) -> None:
        """Count the rows with these labels."""

    def suggest_remedies(self) -> list[str]:
        """Return sentences that say what mends the rows of `without_label`."""

    def list_notes(self) -> list[str]:
        """Return sentences for a person about labels that can be read."""


class LabelEncoder(Protocol):
    """Turns values, as they were read, into labels; `classes` are those in index order."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def encode(self, value: Any) -> Label | UnusableLabel:
        """Return the label, or why the row has to be rejected."""

    def encode_batch(self, values: Sequence[Any]) -> Sequence[Label] | None:
        """Return the label of each row; None if one of them has to be rejected."""

    def list_names(self, value: Any) -> list[str]:
        """Return the class names in a value, known or not; none for a value that holds no names."""

    def choose_strata(self, labels: Sequence[Any], counts: Mapping[str, int]) -> Sequence[int]:
        """Return the class that stands for each label in stratified splits, as an index.

        `counts` are the rows of each class; the index of a row without a label is that behind the
        last class.
        """

    def suggest_remedies(self, reasons: Collection[str]) -> list[str]:
        """Return sentences that say what mends rows which were rejected for these reasons."""
