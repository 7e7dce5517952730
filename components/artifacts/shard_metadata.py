"""What token shards say about themselves, readable without numpy or Arrow: a launcher needs no more of them than this."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.artifacts.manifest import Manifest
from components.data.split_names import SplitName
from components.errors import DataError


class SplitInfo(BaseModel):
    """What one split holds; `length_histogram` maps a length in tokens ([CLS] and [SEP] included) to a number of rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: int = Field(ge=0)
    tokens: int = Field(ge=0)
    class_counts: dict[str, int]
    length_histogram: dict[int, int]
    files: tuple[str, ...]


class ShardsContent(BaseModel):
    """What token shards say about themselves.

    `refused` counts refused rows by reason; `refused_examples` names file, row, field and reason of the first ones, never
    their text. `notes` are sentences for a person, such as how many training rows are in the given test split, too. `window`
    is the part of the source that was read, by time (column, start, until); empty if all of it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    classes: tuple[str, ...] = Field(min_length=2)
    vocabulary_sha256: str
    lower_case: bool
    encoder: str
    max_length: int
    splits: dict[SplitName, SplitInfo]
    refused: dict[str, int] = {}
    refused_examples: list[str] = []
    source_sha256: str
    notes: list[str] = []
    window: dict[str, str] = {}


PROVENANCE = frozenset({"refused", "refused_examples", "source_sha256", "notes", "window"})
"""What tells how the rows were come by. It stands in the manifest beside what the digest is of, so that the same rows, read from a
file that has grown or with a later window, are the same shards."""


def parse_shards_content(sealed: Manifest, where: Path | str) -> ShardsContent:
    """The content of token shards with this manifest; DataError, naming `where`, if it does not describe any."""
    try:
        return ShardsContent.model_validate({**sealed.provenance, **sealed.content})
    except ValidationError as error:
        raise DataError(
            f"{where}: its manifest does not describe token shards ({error.error_count()} errors); tokenize again"
        ) from None
