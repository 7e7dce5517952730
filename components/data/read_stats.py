"""Statistics of one pass over a dataset: rejected rows, and duplicates of test texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from components.errors import DataError, shorten_value

MAX_REPORTED_ROWS = 20
MAX_REPORTED_VALUES = 5
MAX_COUNTED_REASONS = 100
OTHER_REASONS = "other reasons"


@dataclass
class RejectedRows:
    """Rejected rows by reason, and the location of the first ones, but never their text.

    `limit` is how many rows may be rejected. `values` are the first different labels that were
    rejected, by reason; `lost` counts the rejected rows of each label, where it is known.
    """

    limit: int
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    values: dict[str, list[str]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        source: str,
        number: int,
        line: int,
        reason: str,
        columns: str = "",
        label: Any = None,
    ) -> None:
        """Count one rejected row; `line` is 0 for sources without lines.

        `label` is shown beside the reason, and only where the label is the reason.
        """
        if len(self.counts) >= MAX_COUNTED_REASONS and reason not in self.counts:
            reason = OTHER_REASONS
        self.counts[reason] += 1
        shown = "" if label is None else f" {shorten_value(label)!r}"
        if shown:
            values = self.values.setdefault(reason, [])
            if len(values) < MAX_REPORTED_VALUES and shown not in values:
                values.append(shown)
        if len(self.examples) < MAX_REPORTED_ROWS:
            location = f"row {number} (line {line})" if line else f"row {number}"
            columns = f"{columns}: " if columns else ""
            self.examples.append(f"{source}, {location}: {columns}{reason}{shown}")

    @property
    def is_over_limit(self) -> bool:
        """Whether more rows were rejected than allowed."""
        return self.counts.total() > self.limit

    def describe(self) -> str:
        """Return how many rows were rejected for each reason, with the labels that were."""
        return ", ".join(
            f"{count} x {reason}{','.join(self.values.get(reason, []))}"
            for reason, count in self.counts.most_common()
        )

    def raise_error(
        self, remedies: Iterable[str], label_counts: Mapping[str, int], rows: int
    ) -> NoReturn:
        """Raise DataError, with the counts and the first rows: too many rows were rejected.

        `remedies` are sentences. Leaving the rows out is suggested only where no label of
        `label_counts`, the rows of each label, would lose all of its rows, and at least half of
        all `rows` are left.
        """
        examples = "\n".join(f"  {example}" for example in self.examples)
        advice = " ".join([*remedies, self._suggest_limit(label_counts, rows)])
        raise DataError(
            f"{self.counts.total()} rows rejected, data.max_bad_rows allows {self.limit}: "
            f"{self.describe()}\n{examples}\n{advice}"
        )

    def _suggest_limit(self, label_counts: Mapping[str, int], rows: int) -> str:
        gone = [name for name, count in label_counts.items() if 1 < count <= self.lost[name]]
        if gone:
            names = ", ".join(repr(shorten_value(name)) for name in gone[:MAX_REPORTED_VALUES])
            more = ", ..." if len(gone) > MAX_REPORTED_VALUES else ""
            return f"Correct these rows: without them there is no row of {names}{more}."
        if 2 * self.counts.total() > rows:
            return "Correct these rows: they are more than half of all."
        return "Correct these rows, or raise data.max_bad_rows to leave them out."


@dataclass
class ReadStats:
    """Statistics of one pass.

    Rejected rows, rows by split whose text is a test text too, and the text columns that hold
    numbers.
    """

    rejected: RejectedRows
    duplicates_of_test: Counter[str] = field(default_factory=Counter)
    number_columns: set[str] = field(default_factory=set)
