"""The `score` section: what a pipeline of its own scores with a released model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from components.config.section import Section
from components.config.task import TaskKind
from components.errors import shorten_value

OutputFormat = Literal["parquet", "csv", "jsonl"]
"""Formats of a batch prediction."""


class ScoreConfig(Section):
    """What `kubert score` scores on a cluster, and where the output goes."""

    release: str | None = Field(
        None,
        min_length=1,
        description="model reference, such as gs://bucket/models/news or ...news@3; "
        "default: the champion of `export.model_name` in `export.model_store`",
    )
    source: str | tuple[str, ...] = Field(
        "",
        description="texts to score, read as `data` says: like `data.source`, in which {date} is "
        "the day of data.end_time (of a scheduled run: of its scheduled time)",
    )
    to: str = Field(
        "",
        description="gs://, s3:// or minio:// URI of the output's directory; {date} as in `source`",
    )
    format: OutputFormat = Field("parquet", description="format of the output")
    keep: tuple[str, ...] = Field(
        (), description="columns of the source that are written beside label and score"
    )
    all_scores: bool = Field(False, description="write the score of every class, too")
    embeddings: bool = Field(
        False, description="write the encoder's vectors instead of label and score"
    )
    separator: str = Field(
        "|",
        min_length=1,
        description="what stands between the labels of a text in CSV, if it can have several",
    )
    workers: int = Field(
        1,
        ge=0,
        le=256,
        description="worker processes, with cluster.backend=jobset one per pod; 0: none, the step "
        "scores in its own process",
    )


def check_output_options(file_format: OutputFormat, *, embeddings: bool, all_scores: bool) -> None:
    """ValueError, naming the option, for what the output of no model can hold."""
    if embeddings and all_scores:
        raise ValueError("score.embeddings writes no scores; leave out score.all_scores")
    if embeddings and file_format == "csv":
        raise ValueError(
            "score.embeddings: a vector is no CSV field; use score.format=parquet or jsonl"
        )


def check_label_options(
    score: ScoreConfig, kind: TaskKind, classes: Sequence[str], subject: str
) -> None:
    """ValueError, naming the option, for what the output of a model of this kind cannot hold.

    `classes` are those of the model, as far as they are known; `subject` names it in messages.
    """
    if score.all_scores and kind == "regression":
        raise ValueError(
            f"score.all_scores: {subject} predicts numbers, and has no classes with scores; leave "
            "it out"
        )
    if kind != "multi_label" or score.format != "csv" or score.embeddings:
        return
    for name in classes:
        if score.separator in name:
            raise ValueError(
                f"score.separator {score.separator!r}: the class {shorten_value(name)!r} has it in "
                "its name; set another one, or use score.format=parquet or jsonl"
            )
