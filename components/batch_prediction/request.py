"""What a batch prediction is asked for, and the columns of its output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from components.artifacts.release import ReleaseContent
from components.config.data import DataConfig
from components.config.score import (
    OutputFormat,
    ScoreConfig,
    check_label_options,
    check_output_options,
)
from components.errors import UsageError

LABEL_COLUMN = "label"
LABELS_COLUMN = "labels"
VALUE_COLUMN = "value"
SCORE_COLUMN = "score"
CONFIDENT_COLUMN = "is_confident"
EMBEDDING_COLUMN = "embedding"
CLASS_SCORE_PREFIX = "score_"


class BatchPredictionRequest(BaseModel):
    """A release, a text source, and the output.

    release: reference of a released model, as `kubert predict` takes it.
    data: the source and how it is read; its label and test source are not used.
    to: directory, gs:// or s3:// URI of the output.
    keep: columns of the source that are written before the label.
    all_scores: a column `score_<class>` for each class.
    embeddings: the encoder's vector instead of label and scores.
    separator: what stands between several labels in a CSV field.
    """

    model_config = ConfigDict(frozen=True)
    release: str
    data: DataConfig
    to: str
    format: OutputFormat = "parquet"
    keep: tuple[str, ...] = ()
    all_scores: bool = False
    embeddings: bool = False
    workers: int = Field(1, ge=0)
    separator: str = Field("|", min_length=1)

    @property
    def filename(self) -> str:
        """Name of the output's file."""
        return f"predictions.{self.format}"


def choose_columns(
    request: BatchPredictionRequest, inputs: Sequence[str]
) -> BatchPredictionRequest:
    """The request with the text columns for a model of these inputs.

    For a model of pairs these are by default the columns with the names of its inputs. UsageError
    for single texts and a model of pairs, and the other way round.
    """
    data = request.data
    if len(inputs) == 1:
        if data.text_pair is not None:
            raise UsageError(
                f"{request.release}: takes single texts; name their columns by data.text, not by "
                "data.text_pair"
            )
        return request
    if data.text_pair is not None:
        return request
    if data.text != DataConfig().text:
        raise UsageError(
            f"{request.release}: takes pairs of {' and '.join(inputs)}; name the two columns by "
            "data.text_pair, not by data.text"
        )
    data = data.model_copy(update={"text_pair": (inputs[0], inputs[1])})
    return request.model_copy(update={"data": data})


def check_request(request: BatchPredictionRequest) -> None:
    """UsageError for options that exclude each other."""
    try:
        check_output_options(
            request.format, embeddings=request.embeddings, all_scores=request.all_scores
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def list_columns(request: BatchPredictionRequest, content: ReleaseContent) -> list[str]:
    """Names of the output's columns.

    UsageError if two of them are equal, or for options that do not fit the release's kind of task.
    """
    check_task_options(request, content)
    kind, computed = content.task.kind, [EMBEDDING_COLUMN]
    if not request.embeddings:
        computed = {
            "single_label": [LABEL_COLUMN, SCORE_COLUMN],
            "multi_label": [LABELS_COLUMN],
            "regression": [VALUE_COLUMN],
        }[kind]
        if content.threshold is not None:
            computed.append(CONFIDENT_COLUMN)
        if request.all_scores:
            computed += [f"{CLASS_SCORE_PREFIX}{name}" for name in content.classes]
    columns = [*request.keep, *computed]
    if repeated := [name for name, count in Counter(columns).items() if count > 1]:
        raise UsageError(
            f"score.keep: two columns of the output would be called {repeated[0]!r}; "
            "rename it in the source, or leave it out"
        )
    return columns


def check_task_options(request: BatchPredictionRequest, content: ReleaseContent) -> None:
    """UsageError for options that have no meaning for the release's kind of task."""
    names = ("format", "all_scores", "embeddings", "separator")
    options = ScoreConfig.model_validate({name: getattr(request, name) for name in names})
    try:
        check_label_options(options, content.task.kind, content.classes, request.release)
    except ValueError as error:
        raise UsageError(str(error)) from None
