"""One model answers at any time: a new version takes over when it has answered, and the old one ends its requests.

As in TensorFlow Serving the highest version in a directory is the one that is served; in a model store's own directory it is the
champion. A version is verified, file by file and operation by operation, before anything of it is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from components.artifacts import manifest as manifests
from components.artifacts import release
from components.artifacts.manifest import MANIFEST_FILENAME
from components.errors import DataError, KubertError
from components.model.serving_model import (
    DEFAULT_BATCH_SIZE,
    INPUT_NAME,
    OUTPUT_NAMES,
    SIGNATURE_NAME,
    Scorer,
    load_scorer,
)
from components.serving.rest_protocol import BadRequestError
from components.storage.store import open_store

LOADING, AVAILABLE, END = "LOADING", "AVAILABLE", "END"


@dataclass(frozen=True)
class VersionDirectory:
    """A version in the directory; another `stamp` under the same number is another release."""

    number: int
    path: Path
    stamp: int


@dataclass(frozen=True)
class LoadedModel:
    """A version that answers."""

    candidate: VersionDirectory
    name: str
    accuracy: float
    scorer: Scorer
    signatures: dict[str, Any]

    def answer(self, texts: Sequence[bytes]) -> dict[str, list[Any]]:
        """All outputs of the model, one value per text, in the texts' order; BadRequestError for what it cannot read."""
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        rows: dict[str, list[Any]] = {name: [None] * len(texts) for name in OUTPUT_NAMES}
        for start in range(0, len(order), DEFAULT_BATCH_SIZE):
            part = order[start : start + DEFAULT_BATCH_SIZE]
            try:
                outputs = self.scorer.signature(
                    **{INPUT_NAME: tf.constant([texts[row] for row in part], tf.string)}
                )
            except tf.errors.InvalidArgumentError:
                raise BadRequestError(
                    f"input {INPUT_NAME!r} holds what the model cannot read; texts must be UTF-8"
                ) from None
            for name, values in outputs.items():
                for row, value in zip(part, values.numpy(), strict=True):
                    rows[name][row] = _plain(value)
        return rows


class VersionManager:
    """The versions of one directory: `current` answers. Call `refresh` from one thread, the rest from any."""

    def __init__(self, directory: Path, name: str | None, say: Callable[[str], None]) -> None:
        self._directory, self._name, self._say = directory, name, say
        self._current: LoadedModel | None = None
        self._states: dict[int, str] = {}
        self._refused: VersionDirectory | None = None
        self._told = ""

    @property
    def current(self) -> LoadedModel | None:
        """The version that answers new requests."""
        return self._current

    def states(self) -> dict[int, str]:
        """State by version, newest first: LOADING, AVAILABLE or END."""
        return dict(sorted(self._states.items(), reverse=True))

    def start(self) -> LoadedModel:
        """Load the version that is in force; DataError if there is none, or it is not to be loaded."""
        candidate = find_served_version(self._directory)
        if candidate is None:
            raise DataError(
                f"{self._directory}: holds no version (directories 1, 2, ...); `kubert pull STORE/NAME --to {self._directory}` brings one"
            )
        return self._take(candidate)

    def refresh(self) -> None:
        """Load what has come into force meanwhile; a refusal or failure is told once, and the current one goes on."""
        try:
            candidate = find_served_version(self._directory)
            if (
                candidate is None
                or candidate == self._refused
                or (self._current and candidate == self._current.candidate)
            ):
                return
            try:
                self._take(candidate)
            except (KubertError, OSError):
                self._refused = candidate
                raise
        except (KubertError, OSError) as error:
            current = f"; version {self._current.candidate.number} goes on" if self._current else ""
            if (message := f"{error}{current}") != self._told:
                self._say(message)
            self._told = message

    def _take(self, candidate: VersionDirectory) -> LoadedModel:
        started = time.monotonic()
        before = self._current
        self._states[candidate.number] = LOADING
        try:
            loaded = load_version(candidate, self._name)
            loaded.answer([b"", b"ready?"])
        except BaseException:
            self._states[candidate.number] = END
            raise
        self._current = loaded
        self._refused, self._told = None, ""
        self._states[candidate.number] = AVAILABLE
        was = ""
        if before is not None and before.candidate.number != candidate.number:
            self._states[before.candidate.number] = END
            was = f", in place of {before.candidate.number}"
        self._say(
            f"{loaded.name}: version {candidate.number} (accuracy {loaded.accuracy:.4f}) loaded in {time.monotonic() - started:.1f} s{was}"
        )
        return loaded


def find_served_version(directory: Path) -> VersionDirectory | None:
    """The version to serve from a directory: a release itself, the champion of a store's directory, or the highest number."""
    if (directory / MANIFEST_FILENAME).is_file():
        number = release.parse_release_content(
            manifests.read_manifest(directory, "release"), str(directory)
        ).version
        return _candidate(max(1, number), directory)
    if (directory / release.PRIVATE_DIRECTORY).is_dir():
        champion = release.find_champion(
            open_store(str(directory.absolute().parent)), directory.absolute().name
        )
        return None if champion is None else _candidate(champion, directory / str(champion))
    try:
        numbered = [
            path
            for path in directory.iterdir()
            if path.name.isascii() and path.name.isdigit() and path.is_dir()
        ]
    except OSError as error:
        raise DataError(f"{directory}: {error.strerror}") from None
    highest = max(numbered, key=lambda path: int(path.name), default=None)
    return None if highest is None else _candidate(int(highest.name), highest)


def load_version(candidate: VersionDirectory, name: str | None = None) -> LoadedModel:
    """The version, ready to answer; DataError if any file or operation of it is not what it should be."""
    content = release.open_release(candidate.path).content
    return LoadedModel(
        candidate,
        name or content.name or "model",
        content.accuracy,
        load_scorer(candidate.path),
        _signatures(candidate.path),
    )


def _candidate(number: int, path: Path) -> VersionDirectory:
    try:
        stamp = (path / MANIFEST_FILENAME).stat().st_mtime_ns
    except OSError:
        stamp = 0
    return VersionDirectory(number, path, stamp)


def _signatures(path: Path) -> dict[str, Any]:
    """The signatures, as TensorFlow Serving's metadata call shows them."""
    model = saved_model_pb2.SavedModel.FromString((path / release.MODEL_FILENAME).read_bytes())
    told = get_model_metadata_pb2.SignatureDefMap()
    told.signature_def[SIGNATURE_NAME].CopyFrom(model.meta_graphs[0].signature_def[SIGNATURE_NAME])
    shown: dict[str, Any] = json_format.MessageToDict(
        told, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return shown


def _plain(value: Any) -> Any:
    """A NumPy value for JSON; a float32 keeps its own shortest form."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    return float(str(value)) if isinstance(value, np.floating) else int(value)
