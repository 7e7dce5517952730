"""Where the figures of a report come from: the data, the training and the digests of both."""

from __future__ import annotations

from components.artifacts.checkpoint import EpochMetrics
from components.artifacts.manifest import added_field
from components.artifacts.release import StoredInputs
from components.artifacts.report.figures import FiniteModel
from components.artifacts.shard_metadata import LongTextCounts
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.config.data import SINGLE_INPUT
from components.config.model import CUT, LongTexts


class DataSummary(FiniteModel):
    """The data behind the metrics.

    Rows and tokens per split, rejected rows by reason, and rows by length in tokens (all splits).
    `long_texts` says what is read of texts longer than `max_length`, `long_text_counts` how many
    there are.
    """

    rows: dict[str, int]
    tokens: dict[str, int]
    refused: dict[str, int]
    length_histogram: dict[int, int]
    max_length: int
    long_texts: LongTexts = added_field(CUT)
    long_text_counts: LongTextCounts | None = added_field(None)
    vocabulary_tokens: int
    notes: tuple[str, ...]

    @property
    def max_row_tokens(self) -> int:
        """The tokens of the longest possible row."""
        return self.max_length * self.long_texts.max_windows


class TrainingSummary(FiniteModel):
    """How the model was trained: encoder, options by name, and metrics of each epoch.

    step_losses are thinned (step, loss) pairs; best_step is the step whose weights were evaluated.
    """

    encoder: str
    frozen: bool
    pooling: str
    options: dict[str, str]
    history: tuple[EpochMetrics, ...]
    best_step: int
    step_losses: tuple[tuple[int, float], ...]
    examples_per_second: float | None


class ReportOrigin(FiniteModel):
    """What every report records of its origin.

    The digests are those of the inputs' manifests. `inputs` names the text, or those of a pair.
    `task` says what is predicted.
    """

    data: DataSummary
    training: TrainingSummary
    shards_digest: str
    checkpoint_digest: str
    vocabulary_sha256: str
    source_sha256: str
    encoder_fingerprint: str
    inputs: StoredInputs = SINGLE_INPUT
    task: TaskInfo = added_field(SINGLE_LABEL)
