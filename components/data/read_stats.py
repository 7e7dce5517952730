"""Statistics of one pass over a dataset: rejected rows, and duplicates of test texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from components.errors import DataError

MAX_REPORTED_ROWS = 20


@dataclass
class RejectedRows:
    """Rejected rows by reason, and the location of the first ones, but never their text.

    `limit` is how many rows may be rejected.
    """

    limit: int
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, source: str, number: int, line: int, reason: str, columns: str = "") -> None:
        """Count one rejected row; `line` is 0 for sources without lines."""
        self.counts[reason] += 1
        if len(self.examples) < MAX_REPORTED_ROWS:
            location = f"row {number} (line {line})" if line else f"row {number}"
            columns = f"{columns}: " if columns else ""
            self.examples.append(f"{source}, {location}: {columns}{reason}")

    @property
    def is_over_limit(self) -> bool:
        """Whether more rows were rejected than allowed."""
        return self.counts.total() > self.limit

    def check(self, label_advice: str = "") -> None:
        """Raise DataError, with the counts and the first rows, if too many rows were rejected.

        `label_advice` becomes part of the message if a label is among the reasons.
        """
        if not self.is_over_limit:
            return
        advice = label_advice if any("label" in reason for reason in self.counts) else ""
        reasons = ", ".join(f"{count} x {reason}" for reason, count in self.counts.most_common())
        examples = "\n".join(f"  {example}" for example in self.examples)
        raise DataError(
            f"{self.counts.total()} rows rejected, data.max_bad_rows allows {self.limit}: "
            f"{reasons}\n{examples}\n"
            f"{advice}Correct these rows, or raise data.max_bad_rows to leave them out."
        )


@dataclass
class ReadStats:
    """Statistics of one pass: rejected rows, and rows by split whose text is a test text too."""

    rejected: RejectedRows
    duplicates_of_test: Counter[str] = field(default_factory=Counter)
