"""Hot-swaps model versions: a new version serves after a successful warm-up.

As in TensorFlow Serving the highest version in a directory is served; in a model's directory in a
local registry it is the champion. Every file and graph operation of a version is verified before it
is loaded. Requests in flight finish on the version that they began with.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from components.artifacts.manifest import MANIFEST_FILENAME, read_manifest
from components.artifacts.release import MODEL_FILENAME, open_release, parse_release_content
from components.errors import DataError, KubertError
from components.model.serving_model import (
    DEFAULT_BATCH_SIZE,
    INPUT_NAME,
    OUTPUT_NAMES,
    SIGNATURE_NAME,
    Scorer,
    load_scorer,
)
from components.registry import find_champion
from components.registry.listing import PRIVATE_DIRECTORY
from components.serving.rest_protocol import BadRequestError
from components.storage.store import open_store

LOADING, AVAILABLE, END = "LOADING", "AVAILABLE", "END"
"""States of a version, by the names of TensorFlow Serving's status call."""
WARM_UP_TEXTS = (b"", b"ready?")
DEFAULT_MODEL_NAME = "model"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionDirectory:
    """A version in the directory; a new manifest under the same number is another release."""

    number: int
    path: Path
    manifest_mtime_ns: int


@dataclass(frozen=True)
class LoadedModel:
    """A version that can answer requests."""

    directory: VersionDirectory
    name: str
    accuracy: float
    scorer: Scorer
    signatures: dict[str, Any]

    @property
    def version(self) -> int:
        """The version number."""
        return self.directory.number

    def predict(self, texts: Sequence[bytes]) -> dict[str, list[Any]]:
        """All outputs by name, one value per text in the texts' order.

        Texts of similar length share a batch. BadRequestError for a text that is not UTF-8.
        """
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        values_by_row: dict[str, list[Any]] = {name: [None] * len(texts) for name in OUTPUT_NAMES}
        for start in range(0, len(order), DEFAULT_BATCH_SIZE):
            rows = order[start : start + DEFAULT_BATCH_SIZE]
            try:
                outputs = self.scorer.signature(
                    **{INPUT_NAME: tf.constant([texts[row] for row in rows], tf.string)}
                )
            except tf.errors.InvalidArgumentError:
                raise BadRequestError(
                    f"input {INPUT_NAME!r} holds what the model cannot read; texts must be UTF-8"
                ) from None
            for name, values in outputs.items():
                for row, value in zip(rows, values.numpy(), strict=True):
                    values_by_row[name][row] = _to_json_value(value)
        return values_by_row


class VersionManager:
    """The versions of one directory; `current` answers requests.

    Call `start` and `refresh` from one thread, everything else from any.
    """

    def __init__(self, directory: Path, name: str | None) -> None:
        self._directory, self._name = directory, name
        self._current: LoadedModel | None = None
        self._states: dict[int, str] = {}
        self._rejected: VersionDirectory | None = None
        self._last_problem = ""

    @property
    def current(self) -> LoadedModel | None:
        """The version that answers new requests."""
        return self._current

    def list_states(self) -> dict[int, str]:
        """State by version, newest first: LOADING, AVAILABLE or END."""
        return dict(sorted(self._states.items(), reverse=True))

    def start(self) -> LoadedModel:
        """Load the version to serve; DataError if there is none or it does not verify."""
        version = find_served_version(self._directory)
        if version is None:
            raise DataError(
                f"{self._directory}: holds no version (directories 1, 2, ...); "
                f"`kubert pull STORE/NAME --to {self._directory}` brings one"
            )
        return self._activate(version)

    def refresh(self) -> None:
        """Load the version to serve if it is another one; if that fails, the current one stays.

        A failure is logged once, and a version that does not verify is not tried again.
        """
        try:
            version = find_served_version(self._directory)
            current = self._current.directory if self._current else None
            if version is None or version in (current, self._rejected):
                return
            try:
                self._activate(version)
            except (KubertError, OSError):
                self._rejected = version
                raise
        except (KubertError, OSError) as error:
            state = f"; version {self._current.version} goes on" if self._current else ""
            if (problem := f"{error}{state}") != self._last_problem:
                logger.error("%s", problem)
            self._last_problem = problem

    def _activate(self, version: VersionDirectory) -> LoadedModel:
        started = time.monotonic()
        before = self._current
        self._states[version.number] = LOADING
        try:
            loaded = load_version(version, self._name)
            loaded.predict(WARM_UP_TEXTS)
        except BaseException:
            self._states[version.number] = END
            raise
        self._current = loaded
        self._rejected, self._last_problem = None, ""
        self._states[version.number] = AVAILABLE
        change = ""
        if before is not None and before.version != version.number:
            self._states[before.version] = END
            change = f", in place of {before.version}"
        logger.info(
            "%s: version %d (accuracy %.4f) loaded in %.1f s%s",
            loaded.name,
            version.number,
            loaded.accuracy,
            time.monotonic() - started,
            change,
        )
        return loaded


def find_served_version(directory: Path) -> VersionDirectory | None:
    """The version to serve: the release itself, a local champion, or the highest number."""
    if (directory / MANIFEST_FILENAME).is_file():
        content = parse_release_content(read_manifest(directory, "release"), directory)
        return _read_version_directory(max(1, content.version), directory)
    if (directory / PRIVATE_DIRECTORY).is_dir():
        registry_root, name = directory.absolute().parent, directory.absolute().name
        champion = find_champion(open_store(str(registry_root)), name)
        if champion is None:
            return None
        return _read_version_directory(champion, directory / str(champion))
    try:
        numbered = [
            path
            for path in directory.iterdir()
            if path.name.isascii() and path.name.isdigit() and path.is_dir()
        ]
    except OSError as error:
        raise DataError(f"{directory}: {error.strerror}") from None
    highest = max(numbered, key=lambda path: int(path.name), default=None)
    return None if highest is None else _read_version_directory(int(highest.name), highest)


def load_version(version: VersionDirectory, name: str | None = None) -> LoadedModel:
    """Load a version; DataError if a file or an operation of its graph does not verify."""
    content = open_release(version.path).content
    return LoadedModel(
        version,
        name or content.name or DEFAULT_MODEL_NAME,
        content.accuracy,
        load_scorer(version.path),
        _read_signatures(version.path),
    )


def _read_version_directory(number: int, path: Path) -> VersionDirectory:
    try:
        mtime_ns = (path / MANIFEST_FILENAME).stat().st_mtime_ns
    except OSError:
        mtime_ns = 0
    return VersionDirectory(number, path, mtime_ns)


def _read_signatures(path: Path) -> dict[str, Any]:
    """The signatures in the form of TensorFlow Serving's metadata call."""
    model = saved_model_pb2.SavedModel.FromString((path / MODEL_FILENAME).read_bytes())
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signature = model.meta_graphs[0].signature_def[SIGNATURE_NAME]
    signatures.signature_def[SIGNATURE_NAME].CopyFrom(signature)
    message: dict[str, Any] = json_format.MessageToDict(
        signatures, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return message


def _to_json_value(value: Any) -> Any:
    """A NumPy value as JSON's; a float32 becomes the float with the shortest equal decimal form."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray):
        return [_to_json_value(item) for item in value]
    return float(str(value)) if isinstance(value, np.floating) else int(value)
