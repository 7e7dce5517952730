"""Names of the splits. Imports nothing, so that steps without numpy and TensorFlow can use them."""

from __future__ import annotations

from typing import Literal

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
