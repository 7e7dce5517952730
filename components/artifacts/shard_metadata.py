"""Metadata of token shards, readable without NumPy or Arrow, for launchers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from components.artifacts.manifest import Manifest, added_field
from components.artifacts.release import StartingPoint, StoredInputs
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.vocabulary import StoredStripAccents
from components.config.data import SINGLE_INPUT
from components.config.evaluate import EvaluateConfig, check_metrics, list_minimum_classes
from components.config.model import CUT, LongTexts
from components.data.split_names import SplitName
from components.errors import ConfigError, DataError, shorten_value

MAX_NAMES = 5
MAX_LISTED_CLASSES = 20


class SplitInfo(BaseModel):
    """Size of one split; `length_histogram` maps tokens per row ([CLS], [SEP] included) to rows.

    `class_counts` has the rows of each class, where a row with several labels counts for each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: int = Field(ge=0)
    tokens: int = Field(ge=0)
    class_counts: dict[str, int]
    length_histogram: dict[int, int]
    files: tuple[str, ...]


class LongTextCounts(BaseModel):
    """How many texts are longer than `max_length` tokens, and what of them is not read.

    Of all splits together: `texts`, the `longer` ones of them and the `cut` ones, of which a part
    is not read; all word `pieces`, and the `lost` ones, which are not read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    texts: int = Field(ge=1)
    longer: int = Field(ge=1)
    cut: int = Field(ge=0)
    pieces: int = Field(ge=1)
    lost: int = Field(ge=0)

    @property
    def lost_share(self) -> float:
        """Share of all word pieces that are not read."""
        return self.lost / self.pieces

    def describe(self, max_length: int, reading: LongTexts, *, has_pairs: bool = False) -> str:
        """The counts in a sentence."""
        longer = (
            f"{self.longer:,} of {self.texts:,} {'pairs' if has_pairs else 'texts'} "
            f"({self.longer / self.texts:.1%}) are longer than model.max_length {max_length}"
        )
        loss = f"{self.lost_share:.1%} of all word pieces"
        if reading.method == "head_tail":
            return f"{longer}; without their middle, {loss} are not read"
        if has_pairs:
            return (
                f"{longer}; the longer text of each is cut, and {loss} are not read "
                "(raise model.max_length to read more)"
            )
        if reading.method == "cut":
            return (
                f"{longer}; cut there, {loss} are not read (model.long_texts=head_tail reads their "
                "ends, windows all of them)"
            )
        if not self.cut:
            return f"{longer}; they are read in full, in windows"
        return (
            f"{longer}; they are read in windows, and {self.cut:,} need more than "
            f"model.max_windows {reading.max_windows}, so that {loss} are not read"
        )


class ShardsContent(BaseModel):
    """Content of the manifest of token shards.

    `inputs` names the texts of a row: of a pair two, whose rows are [CLS] first [SEP] second [SEP].
    `refused` counts rejected rows by reason; `refused_examples` names file, row, field and reason
    of the first ones, never their text. `notes` are sentences for a person, for example the number
    of training rows that are in the test split, too. `window` is the part of the source that was
    read, by time (column, start, until); empty if all of it was read. `strip_accents` is that of
    the vocabulary where `lower_case` does not say it, and left out of the manifest else.
    `start_from` fixes the release that the training on these shards begins with. `long_texts` says
    what is read of texts longer than `max_length`: a row of several windows has `max_length` tokens
    for each. `long_text_counts` counts these texts, if there are any. `task` says what the labels
    are; a regression has no classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    classes: tuple[str, ...]
    vocabulary_sha256: str
    lower_case: bool
    strip_accents: StoredStripAccents = None
    encoder: str
    max_length: int
    long_texts: LongTexts = added_field(CUT)
    inputs: StoredInputs = SINGLE_INPUT
    splits: dict[SplitName, SplitInfo]
    refused: dict[str, int] = {}
    refused_examples: list[str] = []
    source_sha256: str
    notes: list[str] = []
    window: dict[str, str] = {}
    start_from: StartingPoint | None = added_field(None)
    long_text_counts: LongTextCounts | None = added_field(None)
    task: TaskInfo = added_field(SINGLE_LABEL)

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        is_regression = self.task.kind == "regression"
        if is_regression == bool(self.classes) or len(self.classes) == 1:
            raise ValueError("needs at least two classes, or for a regression none")
        return self

    @property
    def max_row_tokens(self) -> int:
        """The tokens of the longest possible row."""
        return self.max_length * self.long_texts.max_windows


PROVENANCE = frozenset(
    {
        "refused",
        "refused_examples",
        "source_sha256",
        "notes",
        "window",
        "start_from",
        "long_text_counts",
    }
)
"""Fields about the origin of the rows, which the digest does not cover: the same rows are the same
shards, also when they were read from a file that has grown or with a later window."""


def parse_shards_content(sealed: Manifest, where: Path | str) -> ShardsContent:
    """The content in a manifest; DataError, naming `where`, if it describes none."""
    try:
        return ShardsContent.model_validate({**sealed.provenance, **sealed.content})
    except ValidationError as error:
        raise DataError(
            f"{where}: its manifest does not describe token shards ({error.error_count()} errors); "
            "tokenize again"
        ) from None


def describe_absent_classes(splits: Mapping[SplitName, SplitInfo]) -> list[str]:
    """A note for each split on the classes that have no rows in it."""
    notes = []
    for split, info in splits.items():
        if info.rows and (absent := [name for name, rows in info.class_counts.items() if not rows]):
            listed = ", ".join(absent[:MAX_LISTED_CLASSES])
            count = f"{len(absent)} classes: " if len(absent) > 1 else ""
            more = ", ..." if len(absent) > MAX_LISTED_CLASSES else ""
            unseen = "; the model is not trained on them" if split == "train" else ""
            notes.append(f"the {split} split has no rows of {count}{listed}{more}{unseen}")
    return notes


def check_class_names(option: str, names: Iterable[str], classes: Sequence[str]) -> None:
    """ConfigError, naming the option, if one of its names is not that of a class of the data."""
    if unknown := [name for name in names if name not in classes]:
        raise ConfigError(
            f"{option}: the data have no class {list_class_names(unknown)}; "
            f"the classes are {list_class_names(classes)}"
        )


def check_limits(config: EvaluateConfig, shards: ShardsContent) -> None:
    """ConfigError for limits of the gate of metrics, or of classes, that the data do not have."""
    try:
        check_metrics(config, shards.task.kind)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    check_class_names("evaluate.minimum", list_minimum_classes(config), shards.classes)


def list_class_names(names: Sequence[str]) -> str:
    """The first MAX_NAMES of the names, quoted, for a message."""
    listed = ", ".join(repr(shorten_value(name)) for name in names[:MAX_NAMES])
    return f"{listed}, ..." if len(names) > MAX_NAMES else listed
