"""A release: a TensorFlow Serving model directory with a manifest that describes the model.

Files:

    saved_model.pb, fingerprint.pb, variables/, assets/    the SavedModel
    assets.extra/tf_serving_warmup_requests                requests replayed before a version serves
    manifest.json                                          `ReleaseContent` and every file's SHA-256
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from components.artifacts.artifact import Artifact, parse_content, verify_artifact
from components.artifacts.manifest import Manifest, added_field
from components.config.data import SINGLE_INPUT
from components.config.model import CUT, LongTexts
from components.errors import DataError

MODEL_FILENAME = "saved_model.pb"
StoredInputs = Annotated[
    tuple[str, ...],
    Field(min_length=1, max_length=2, exclude_if=lambda value: value == SINGLE_INPUT),
]
"""Names of the texts that a model takes: two for a pair. Those of single texts are left out of
manifests, so that the digests of those from before the field existed hold."""


class ReleaseLineage(BaseModel):
    """The release whose weights a training began with; `digest` is that of its manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    version: int = Field(ge=1)
    digest: str

    @property
    def title(self) -> str:
        """Name and version, for messages."""
        return f"{self.name} version {self.version}"


class StartingRelease(ReleaseLineage):
    """A release to begin with: also the URI of its registry and the digest of its checkpoint."""

    store: str
    checkpoint: str

    @property
    def lineage(self) -> ReleaseLineage:
        """What artifacts record, which does not depend on where the registry is."""
        return ReleaseLineage(name=self.name, version=self.version, digest=self.digest)


class StartingPoint(BaseModel):
    """What `model.start_from` means for one run, fixed by its first step.

    `reference` is the option. `release` is None while nothing is released under its name. For a
    champion, `trained_on` is the digest of the shards that it was trained on, and `previous` the
    release that it began with itself; `is_first`: it began with the encoder's own weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    reference: str
    release: StartingRelease | None = None
    trained_on: str = ""
    is_first: bool = False
    previous: StartingRelease | None = None

    def choose_release(self, shards_digest: str) -> StartingRelease | None:
        """The release to begin with on these shards; None: the encoder's own weights.

        A champion that was trained on the same shards has nothing to learn from them: the training
        begins where the champion began, so that it is the same one and is not repeated.
        """
        if self.trained_on == shards_digest and (self.is_first or self.previous is not None):
            return self.previous
        return self.release


class ReleaseContent(BaseModel):
    """Description of a release; `name` and `version` are empty and 0 until it is published.

    `accuracy`, its 95% interval `accuracy_low`..`accuracy_high` and `macro_f1` are fractions of 1,
    measured on `test_rows` rows. `parity_difference` is the largest difference between a served
    score and the evaluated one on `parity_rows` of them. `precision` is the dtype of the served
    matrix products; where it is not float32, `served_accuracy` is the accuracy with it on all test
    rows. `gate` is the `GateDecision` that admitted the model. `start_from` is the release that its
    training began with, if any. `threshold` is the score that a confident answer reaches, if the
    model has one. `temperature` is what the logits are divided by, if the scores are calibrated.
    `inputs` names the inputs of its signature, in their order. `long_texts` says what it reads of
    texts longer than `max_length`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = ""
    version: int = Field(0, ge=0)
    classes: tuple[str, ...]
    encoder: str
    max_length: int
    long_texts: LongTexts = added_field(CUT)
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
    start_from: ReleaseLineage | None = added_field(None)
    threshold: float | None = added_field(None)
    temperature: float | None = added_field(None)
    inputs: StoredInputs = SINGLE_INPUT

    @property
    def takes_pairs(self) -> bool:
        """Whether it classifies pairs of texts."""
        return len(self.inputs) > 1


def open_release(directory: Path) -> Artifact[ReleaseContent]:
    """Verify a release; DataError if a file, its model or its content is not what it should be."""
    manifest = verify_artifact(directory, "release")
    return Artifact(directory, manifest, parse_release_content(manifest, directory))


def parse_release_content(manifest: Manifest, source: Path | str) -> ReleaseContent:
    """The release's description; DataError, naming `source`, if it has none or no model file."""
    if MODEL_FILENAME not in manifest.files:
        raise DataError(f"{source}: its manifest names no {MODEL_FILENAME}")
    return parse_content(ReleaseContent, manifest, source)
