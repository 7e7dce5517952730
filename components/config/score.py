"""The `score` section: what a pipeline of its own scores with a released model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.config.section import Section


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
    format: Literal["parquet", "csv", "jsonl"] = Field(
        "parquet", description="format of the output"
    )
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
