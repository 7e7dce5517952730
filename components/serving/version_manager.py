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

from components.artifacts.release import MODEL_FILENAME, open_release
from components.errors import KubertError
from components.model.serving_model import (
    CONFIDENT_OUTPUT,
    DEFAULT_BATCH_SIZE,
    OUTPUT_NAMES,
    OUTPUTS,
    SIGNATURE_NAME,
    Scorer,
    load_scorer,
)
from components.serving.model_directory import (
    VersionDirectory,
    find_served_version,
    select_served_version,
)
from components.serving.rest_protocol import BadRequestError

LOADING, AVAILABLE, END = "LOADING", "AVAILABLE", "END"
"""States of a version, by the names of TensorFlow Serving's status call."""
WARM_UP_TEXTS = (b"", b"ready?")
DEFAULT_MODEL_NAME = "model"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A version that can answer requests."""

    directory: VersionDirectory
    name: str
    quality: str
    scorer: Scorer
    signatures: dict[str, Any]
    output_names: tuple[str, ...] = OUTPUT_NAMES

    @property
    def version(self) -> int:
        """The version number."""
        return self.directory.number

    def predict(self, texts: Sequence[tuple[bytes, ...]]) -> dict[str, list[Any]]:
        """All outputs by name, one value per row of a text for each input, in the rows' order.

        Texts of similar length share a batch. BadRequestError for a text that is not UTF-8.
        """
        lengths = [sum(map(len, row)) for row in texts]
        order = sorted(range(len(texts)), key=lambda row: -lengths[row])
        values_by_row: dict[str, list[Any]] = {
            name: [None] * len(texts) for name in self.output_names
        }
        for start in range(0, len(order), DEFAULT_BATCH_SIZE):
            rows = order[start : start + DEFAULT_BATCH_SIZE]
            try:
                outputs = self.scorer.run([text for row in rows for text in texts[row]])
            except tf.errors.InvalidArgumentError:
                names = " or ".join(map(repr, self.scorer.inputs))
                raise BadRequestError(
                    f"input {names} holds what the model cannot read; texts must be UTF-8"
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
        return self._activate(select_served_version(self._directory))

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
            loaded.predict([(text,) * len(loaded.scorer.inputs) for text in WARM_UP_TEXTS])
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
            "%s: version %d (%s) loaded in %.1f s%s",
            loaded.name,
            version.number,
            loaded.quality,
            time.monotonic() - started,
            change,
        )
        return loaded


def load_version(version: VersionDirectory, name: str | None = None) -> LoadedModel:
    """Load a version; DataError if a file or an operation of its graph does not verify."""
    content = open_release(version.path).content
    outputs = OUTPUTS[content.task.kind]
    return LoadedModel(
        version,
        name or content.name or DEFAULT_MODEL_NAME,
        str(content.main_metric),
        load_scorer(version.path, content.inputs, content.task.kind, len(content.classes)),
        _read_signatures(version.path),
        outputs if content.threshold is None else (*outputs, CONFIDENT_OUTPUT),
    )


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
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, np.ndarray):
        return [_to_json_value(item) for item in value]
    return float(str(value)) if isinstance(value, np.floating) else int(value)
