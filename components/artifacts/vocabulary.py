"""The tokenizer's vocabulary: word pieces in id order."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.errors import DataError

VOCABULARY_FILE = "vocab.txt"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
StripAccents = Literal["all", "alphabetic", "none"]
"""Which nonspacing marks are removed from texts: all, those of Latin, Greek and Cyrillic letters
(in other scripts they are vowels), or none."""
StoredStripAccents = Annotated[StripAccents | None, Field(exclude_if=lambda value: value is None)]
"""As manifests have it: None, where `lower_case` implies it, is left out, so that the digests of
manifests from before the field existed hold."""


class Vocabulary(BaseModel):
    """Word pieces in id order, and whether texts are lower-cased and stripped of accents first.

    `strip_accents` is by default `all` if texts are lower-cased, else `none`, as in BERT. Raises
    ValueError if one of [PAD], [UNK], [CLS], [SEP] is missing, or if a piece is empty, occurs twice
    or contains a line break.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    tokens: tuple[str, ...]
    lower_case: bool
    strip_accents: StripAccents = "all"

    @model_validator(mode="before")
    @classmethod
    def _set_default(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("strip_accents") is None:
            return {**values, "strip_accents": "all" if values.get("lower_case") else "none"}
        return values

    @model_validator(mode="after")
    def _complete(self) -> Vocabulary:
        if missing := [token for token in SPECIAL_TOKENS if token not in self._index]:
            raise ValueError(f"the vocabulary has no {', '.join(missing)}")
        if len(self._index) != len(self.tokens):
            raise ValueError("the vocabulary holds a piece twice")
        if "" in self._index or "\r" in self.text or self.text.count("\n") != len(self.tokens):
            raise ValueError("the vocabulary holds an empty piece or one with a line break")
        return self

    @cached_property
    def _index(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def token_id(self, token: str) -> int:
        """The token's id; KeyError if it is not in the vocabulary."""
        return self._index[token]

    @property
    def pad_id(self) -> int:
        """The id of [PAD]."""
        return self._index["[PAD]"]

    @property
    def stored_strip_accents(self) -> StripAccents | None:
        """What manifests store: None where `lower_case` says it."""
        default = "all" if self.lower_case else "none"
        return None if self.strip_accents == default else self.strip_accents

    @cached_property
    def text(self) -> str:
        """The content of vocab.txt: one piece per line, the line number is the id."""
        return "\n".join([*self.tokens, ""])

    @cached_property
    def sha256(self) -> str:
        """SHA-256 (hex) of vocab.txt and the normalization: equal digests give equal ids."""
        parts = [self.text, "lower_case" if self.lower_case else "cased"]
        if self.stored_strip_accents is not None:
            parts.append(f" strip_accents={self.strip_accents}")
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Write vocab.txt (UTF-8, one piece per line)."""
        path.write_bytes(self.text.encode())

    @classmethod
    def read(
        cls, path: Path, lower_case: bool, strip_accents: StripAccents | None = None
    ) -> Vocabulary:
        """Read a vocab.txt; DataError if it is missing, not UTF-8 or not a BERT vocabulary."""
        try:
            lines = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
            return cls(
                tokens=tuple(line.removesuffix("\r") for line in lines),
                lower_case=lower_case,
                strip_accents=strip_accents,
            )
        except OSError as error:
            raise DataError(
                f"{path}: cannot read the vocabulary: {error.strerror or error}"
            ) from None
        except UnicodeDecodeError:
            raise DataError(f"{path}: the vocabulary is not UTF-8") from None
        except ValidationError as error:
            raise DataError(
                f"{path}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
            ) from None
