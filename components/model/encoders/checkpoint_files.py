"""Reads the files of a Hugging Face BERT checkpoint: JSON, vocabulary and tensors.

Nothing is unpickled and no code of a repository runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from components.artifacts.vocabulary import Vocabulary
from components.errors import ConfigError, DataError

WEIGHTS_FILE = "model.safetensors"
_OTHER_WEIGHT_FORMATS = (".bin", ".h5", ".msgpack")
_SUPPORTED_DTYPES = ("F32", "F16", "F64")


def read_vocabulary(directory: Path) -> Vocabulary:
    """The word pieces in id order, and whether texts are lower-cased first."""
    options = read_json(directory / "tokenizer_config.json", optional=True)
    tokenizer = read_json(directory / "tokenizer.json", optional=True)
    normalizer = tokenizer.get("normalizer") or {}
    lower_case = options.get("do_lower_case", normalizer.get("lowercase", True))
    strips_accents = options.get("strip_accents", normalizer.get("strip_accents"))
    where = f"{directory}: tokenizer_config.json"
    if strips_accents is not None and strips_accents != lower_case:
        raise ConfigError(
            f"{where}: strip_accents is {strips_accents} and do_lower_case is {lower_case}; "
            "only equal values are supported"
        )
    if options.get("tokenize_chinese_chars", normalizer.get("handle_chinese_chars", True)) is False:
        raise ConfigError(f"{where}: tokenize_chinese_chars is False; only True is supported")
    return build_vocabulary(_read_tokens(directory, tokenizer), bool(lower_case), str(directory))


def build_vocabulary(tokens: list[str], lower_case: bool, source: str) -> Vocabulary:
    """A vocabulary from tokens of a foreign file; DataError names what is wrong with them."""
    try:
        return Vocabulary(tokens=tuple(tokens), lower_case=lower_case)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DataError(f"{source}: {reason}") from None


def _read_tokens(directory: Path, tokenizer: dict[str, Any]) -> list[str]:
    file = directory / "vocab.txt"
    model = tokenizer.get("model") or {}
    if file.exists():
        tokens = read_vocabulary_file(file)
        if "vocab" in model and len(tokens) != len(model["vocab"]):
            raise DataError(
                f"{file}: {len(tokens)} word pieces, but tokenizer.json beside it has "
                f"{len(model['vocab'])}; one of them was cut or changed"
            )
        return tokens
    if model.get("type") != "WordPiece" or not model.get("vocab"):
        raise DataError(
            f"{directory}: has neither vocab.txt nor a tokenizer.json with a WordPiece vocabulary"
        )
    ids = dict(model["vocab"])
    if sorted(ids.values()) != list(range(len(ids))):
        raise DataError(
            f"{directory}: tokenizer.json: the vocabulary's ids do not run from 0 to {len(ids) - 1}"
        )
    return sorted(ids, key=ids.__getitem__)


def read_vocabulary_file(file: Path) -> list[str]:
    r"""The lines of a vocabulary file, ended by "\n" only: tokens may hold other separators."""
    try:
        lines = file.read_bytes().decode("utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"{file}: missing") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: not UTF-8") from None
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def read_json(file: Path, optional: bool = False) -> dict[str, Any]:
    """A JSON object in a file; {} for a missing optional one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if optional:
            return {}
        raise DataError(
            f"{file}: missing; a Hugging Face BERT checkpoint has config.json, vocab.txt and "
            f"{WEIGHTS_FILE}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{file}: must hold a JSON object")
    return value


class SafetensorsFile:
    """A checkpoint's model.safetensors, read tensor by tensor; DataError if missing or damaged."""

    def __init__(self, directory: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.file = directory / WEIGHTS_FILE
        if not self.file.exists():
            others = _list_other_weights(directory)
            hint = (
                f"; {', '.join(others)} cannot be read: save the model again as one {WEIGHTS_FILE}"
                if others
                else ""
            )
            raise DataError(f"{self.file}: missing{hint}")
        try:
            self._open: Any = safe_open(self.file, framework="numpy")
        except (SafetensorError, OSError) as error:
            raise DataError(f"{self.file}: not a readable safetensors file ({error})") from None

    def names(self) -> list[str]:
        """Every tensor's name."""
        return list(self._open.keys())

    def read(self, name: str) -> np.ndarray:
        """One tensor as float32."""
        dtype = self._open.get_slice(name).get_dtype()
        if dtype not in _SUPPORTED_DTYPES:
            raise DataError(
                f"{self.file}: {name} is {dtype}; only F32, F16 and F64 weights can be read"
            )
        return np.asarray(self._open.get_tensor(name), np.float32)


def _list_other_weights(directory: Path) -> list[str]:
    return [
        path.name
        for path in sorted(directory.glob("*"))
        if path.suffix in _OTHER_WEIGHT_FORMATS or ".safetensors" in path.name
    ]
