"""A release: a TensorFlow Serving model directory with a manifest that describes the model.

Files:

    saved_model.pb, fingerprint.pb, variables/, assets/    the SavedModel
    assets.extra/tf_serving_warmup_requests                requests replayed before a version serves
    manifest.json                                          `ReleaseContent` and every file's SHA-256
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from components.artifacts.artifact import Artifact, parse_content, verify_artifact
from components.artifacts.manifest import Manifest
from components.errors import DataError

MODEL_FILENAME = "saved_model.pb"


class ReleaseContent(BaseModel):
    """Description of a release; `name` and `version` are empty and 0 until it is published.

    `accuracy`, its 95% interval `accuracy_low`..`accuracy_high` and `macro_f1` are fractions of 1,
    measured on `test_rows` rows. `parity_difference` is the largest difference between a served
    score and the evaluated one on `parity_rows` of them. `precision` is the dtype of the served
    matrix products; where it is not float32, `served_accuracy` is the accuracy with it on all test
    rows. `gate` is the `GateDecision` that admitted the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = ""
    version: int = Field(0, ge=0)
    classes: tuple[str, ...]
    encoder: str
    max_length: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float | None
    test_rows: int
    gate: dict[str, Any]
    precision: str = "float32"
    served_accuracy: float | None = None
    parity_rows: int
    parity_difference: float


def open_release(directory: Path) -> Artifact[ReleaseContent]:
    """Verify a release; DataError if a file, its model or its content is not what it should be."""
    manifest = verify_artifact(directory, "release")
    return Artifact(directory, manifest, parse_release_content(manifest, directory))


def parse_release_content(manifest: Manifest, source: Path | str) -> ReleaseContent:
    """The release's description; DataError, naming `source`, if it has none or no model file."""
    if MODEL_FILENAME not in manifest.files:
        raise DataError(f"{source}: its manifest names no {MODEL_FILENAME}")
    return parse_content(ReleaseContent, manifest, source)
