"""A release: a TensorFlow Serving model directory with a manifest that describes the model.

Files:

    saved_model.pb, fingerprint.pb, variables/, assets/    the SavedModel
    assets.extra/tf_serving_warmup_requests                requests replayed before a version serves
    manifest.json                                          `ReleaseContent` and every file's SHA-256
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.artifacts.artifact import Artifact, parse_content, verify_artifact
from components.artifacts.manifest import Manifest, added_field
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.config.data import SINGLE_INPUT
from components.config.model import CUT, LongTexts
from components.config.task import TaskKind
from components.errors import DataError

MODEL_FILENAME = "saved_model.pb"
StoredInputs = Annotated[
    tuple[str, ...],
    Field(min_length=1, max_length=2, exclude_if=lambda value: value == SINGLE_INPUT),
]
"""Names of the texts that a model takes: two for a pair. Those of single texts are left out of
manifests, so that the digests of those from before the field existed hold."""
MAIN_METRICS: Mapping[TaskKind, str] = {
    "single_label": "accuracy",
    "multi_label": "micro_f1",
    "regression": "rmse",
}
"""The metric that says how good a model is, by kind of task."""
MIN_DECIMAL, MAX_DECIMAL = 0.001, 100
"""From which to which number four decimals show a metric well: an RMSE may have any size."""


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


class MetricValue(NamedTuple):
    """A metric of the test rows, and its 95% interval; None where it is undefined."""

    name: str
    value: float | None
    low: float | None
    high: float | None

    def format_value(self) -> str:
        """The value for people."""
        return format_metric(self.value)

    def __str__(self) -> str:
        return f"{self.name} {self.format_value()}"


def format_metric(value: float | None) -> str:
    """A metric for people: four decimals, of large and tiny numbers six digits."""
    if value is None:
        return "undefined"
    shows_decimals = value == 0 or MIN_DECIMAL <= abs(value) < MAX_DECIMAL
    return f"{value:.4f}" if shows_decimals else f"{value:.6g}"


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

    `task` is the kind of task, if it is another than one label for each text. `accuracy`, its
    interval and `macro_f1` are then None; `metrics` has those of the kind by name, and
    `served_metrics` those on all test rows where `precision` is not float32. `thresholds` are the
    scores from which a text is given each of the classes, if it has any number of labels. A
    regression has no `classes`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = ""
    version: int = Field(0, ge=0)
    classes: tuple[str, ...]
    encoder: str
    max_length: int
    long_texts: LongTexts = added_field(CUT)
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
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
    task: TaskInfo = added_field(SINGLE_LABEL)
    thresholds: tuple[float, ...] = added_field(())
    metrics: dict[str, float] = added_field({})
    served_metrics: dict[str, float] = added_field({})

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        kind = self.task.kind
        if (self.accuracy is None) != (kind != "single_label"):
            raise ValueError("a release of single labels has an accuracy, and no other one")
        if len(self.thresholds) != (len(self.classes) if kind == "multi_label" else 0):
            raise ValueError("a release of several labels has a threshold for each class")
        if not all(0 <= threshold <= 1 for threshold in self.thresholds):
            raise ValueError("a threshold is a score from 0 to 1")
        if (not self.classes) != (kind == "regression"):
            raise ValueError("a release has classes, unless it predicts numbers")
        return self

    @property
    def takes_pairs(self) -> bool:
        """Whether it reads pairs of texts."""
        return len(self.inputs) > 1

    @property
    def main_metric(self) -> MetricValue:
        """How good the model is on the test rows."""
        name = MAIN_METRICS[self.task.kind]
        if name == "accuracy":
            return MetricValue(name, self.accuracy, self.accuracy_low, self.accuracy_high)
        bounds = (self.metrics.get(f"{name}{end}") for end in ("", "_low", "_high"))
        return MetricValue(name, *bounds)


def open_release(directory: Path) -> Artifact[ReleaseContent]:
    """Verify a release; DataError if a file, its model or its content is not what it should be."""
    manifest = verify_artifact(directory, "release")
    return Artifact(directory, manifest, parse_release_content(manifest, directory))


def parse_release_content(manifest: Manifest, source: Path | str) -> ReleaseContent:
    """The release's description; DataError, naming `source`, if it has none or no model file."""
    if MODEL_FILENAME not in manifest.files:
        raise DataError(f"{source}: its manifest names no {MODEL_FILENAME}")
    return parse_content(ReleaseContent, manifest, source)
