"""The `model` section: the encoder, its pooling, and the sizes of a `scratch` encoder."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from components.config.section import Section

LongTextMethod = Literal["cut", "head_tail", "windows"]
"""What is read of a text that is longer than `model.max_length`."""
OVERLAP_DIVISOR = 8
"""Of `model.max_length`: the default overlap of two windows."""
WINDOW_SPECIAL_TOKENS = 2


class LongTexts(BaseModel):
    """How texts of more than `max_length` tokens are read; artifacts store it.

    `overlap` is the number of word pieces that neighbouring windows share at least, `max_windows`
    the number of windows of a text; 0 and 1 unless texts are read in windows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: LongTextMethod = "cut"
    overlap: int = Field(0, ge=0)
    max_windows: int = Field(1, ge=1)

    @property
    def has_windows(self) -> bool:
        """Whether a text may have several windows."""
        return self.method == "windows"

    def describe(self) -> str:
        """Such as "windows (overlap 16, at most 8)", for messages."""
        if not self.has_windows:
            return self.method
        return f"windows (overlap {self.overlap}, at most {self.max_windows})"


CUT = LongTexts()
"""Only the beginning of a long text is read."""


class ModelConfig(Section):
    """The encoder, its pooling, and the sizes of a `scratch` encoder."""

    encoder: str = Field(
        "minilm",
        description="scratch | hub:HANDLE, URL or directory | hf:REPO or directory | "
        "minilm (weights that are part of kubert)",
    )
    start_from: str | None = Field(
        None,
        description="release whose weights training begins with, STORE/NAME or STORE/NAME@VERSION "
        "(without a version the champion, or the encoder's own weights while nothing is released); "
        "STORE as in `export.model_store`; default: the encoder's own weights",
    )
    preprocessor: str | None = Field(
        None,
        description="hub: only: handle of the preprocessor with the vocabulary; "
        "default: the encoder's own vocabulary file",
    )
    freeze: bool = Field(
        False,
        description="true: the encoder is not trained; its features are computed once and cached, "
        "and only the classification head is trained",
    )
    max_length: int = Field(
        128,
        ge=8,
        le=512,
        description="tokens per text, including [CLS] and [SEP]; `long_texts` says what is read of "
        "longer texts",
    )
    long_texts: LongTextMethod = Field(
        "cut",
        description="what is read of texts longer than `max_length`: cut: the beginning; "
        "head_tail: a quarter from the beginning, the rest from the end; windows: parts that "
        "overlap, whose logits are averaged (two to `max_windows` times the computation)",
    )
    window_overlap: int | None = Field(
        None,
        ge=0,
        description="windows only: word pieces that neighbouring windows share at least; at most "
        "half of a window; default: an eighth of `max_length`",
    )
    max_windows: int = Field(
        8,
        ge=2,
        le=64,
        description="windows only: windows of a text; what is behind the last one is not read",
    )
    pooling: Literal["auto", "mean", "cls", "pooled"] = Field(
        "auto",
        description="vector of a text: mean of its tokens, the [CLS] token, or the encoder's "
        "pooled output; auto: mean for scratch and minilm, else pooled",
    )
    dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="dropout rate before the logits and inside a trained encoder",
    )
    lower_case: bool = Field(
        True,
        description="scratch only: texts are lower-cased and stripped of accents before the "
        "vocabulary is learned",
    )
    vocab_size: int = Field(
        20_000,
        ge=100,
        le=200_000,
        description="scratch only: maximum number of WordPiece tokens to learn",
    )
    num_layers: int = Field(1, ge=1, le=24, description="scratch only: transformer layers")
    num_heads: int = Field(2, ge=1, le=32, description="scratch only: attention heads per layer")
    hidden_size: int = Field(
        128,
        ge=8,
        le=2048,
        description="scratch only: size of the embeddings, a multiple of `num_heads`",
    )
    intermediate_size: int = Field(
        128, ge=8, le=8192, description="scratch only: size of the feed-forward layers"
    )

    @field_validator("encoder")
    @classmethod
    def _check_encoder(cls, value: str) -> str:
        scheme, colon, rest = value.partition(":")
        if value in ("scratch", "minilm") or (scheme in ("hub", "hf") and colon and rest.strip()):
            return value
        raise ValueError(
            f"unknown encoder {value!r}; use scratch, minilm, hub:<handle, URL or directory> or "
            "hf:<repo or directory>"
        )

    @field_validator("start_from")
    @classmethod
    def _check_reference(cls, value: str | None) -> str | None:
        if value is not None and not re.search(r"[^/]/[A-Za-z0-9][^/@]*(@[1-9][0-9]*)?$", value):
            raise ValueError("write STORE/NAME or STORE/NAME@VERSION, such as models/news@3")
        return value

    @model_validator(mode="after")
    def _check_scratch(self) -> ModelConfig:
        if self.encoder == "scratch" and self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}"
            )
        if self.encoder == "scratch" and self.freeze:
            raise ValueError(
                "freeze: a scratch encoder starts from random weights, which have to be trained"
            )
        return self

    @model_validator(mode="after")
    def _check_overlap(self) -> ModelConfig:
        limit = (self.max_length - WINDOW_SPECIAL_TOKENS) // 2
        if self.long_texts == "windows" and (self.window_overlap or 0) > limit:
            raise ValueError(
                f"window_overlap {self.window_overlap}: at most {limit}, half of the word pieces "
                f"of a window of {self.max_length} tokens"
            )
        return self

    @property
    def long_text_reading(self) -> LongTexts:
        """`long_texts` with the options that belong to it, and their defaults."""
        if self.long_texts != "windows":
            return LongTexts(method=self.long_texts)
        overlap = self.window_overlap
        if overlap is None:
            overlap = self.max_length // OVERLAP_DIVISOR
        return LongTexts(method="windows", overlap=overlap, max_windows=self.max_windows)

    @property
    def resolved_pooling(self) -> Literal["mean", "cls", "pooled"]:
        """`pooling` with auto resolved."""
        if self.pooling == "auto":
            return "mean" if self.encoder in ("scratch", "minilm") else "pooled"
        return self.pooling
