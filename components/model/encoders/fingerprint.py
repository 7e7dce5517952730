"""What an encoder's features depend on, as one digest, and the check of its vocabulary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from components.artifacts.vocabulary import Vocabulary
from components.errors import ConfigError


def hash_description(description: Mapping[str, object]) -> str:
    """sha256 (hex) of a JSON value."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def hash_file(file: Path) -> str:
    """sha256 (hex) of a file; cached until its size or time of change differs."""
    status = file.stat()
    return _hash_version(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash_version(file: Path, size: int, modified: int) -> str:
    # Weights are large, and several parts of one run ask for them.
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_same_vocabulary(own: Vocabulary, given: Vocabulary, source: str) -> None:
    """ConfigError unless the texts were tokenized with the encoder's own vocabulary."""
    if own.sha256 != given.sha256:
        raise ConfigError(
            f"{source}: the texts were tokenized with another vocabulary; "
            "tokenize them again for this encoder"
        )
