"""Every option there is, one validated and frozen section per step.

This is the only list of options: `kubert config` prints it, the pipeline's parameters are taken from it, and every step
reads its own section. Units stand in the descriptions. An unknown or impossible value is refused here, before anything
runs.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.cluster import ClusterConfig, ScheduleConfig
from components.config.section import Section

SAMPLE_SOURCE = "sample"
DEFAULT_LENGTH_BUCKETS = (*range(8, 128, 8), *range(128, 256, 16), *range(256, 513, 32))


class DataConfig(Section):
    """Where the labelled text comes from and how its rows are read."""

    source: str = Field(
        SAMPLE_SOURCE,
        min_length=1,
        description="CSV, TSV, JSON lines or Parquet file (.gz too), local or gs:// or s3://; tfds:NAME; or `sample`, the built-in news items",
    )
    test_source: str | None = Field(
        None,
        description="a source of its own for the test split; without it, test rows are split off from `source`",
    )
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet"] = Field(
        "auto", description="format of the files; auto: by the name's ending"
    )
    header: bool = Field(
        True,
        description="CSV and TSV: the first row names the columns; false: columns are numbered from 0",
    )
    text: tuple[str, ...] = Field(
        ("title", "description"),
        min_length=1,
        description="text columns, joined by one space in this order",
    )
    label: str = Field(
        "label",
        min_length=1,
        description="the label's column: names or integers (from 0, or from 1 where `classes` is given and no 0 occurs)",
    )
    classes: tuple[str, ...] | None = Field(
        None,
        description="class names in label order; without it, the classes found in training, sorted",
    )
    max_bad_rows: int = Field(
        0,
        ge=0,
        description="rows that may be refused (counted, the first ones shown) before the run stops",
    )
    validation_fraction: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="share of the training rows kept for validation, chosen by a hash of the text",
    )
    test_fraction: float = Field(
        0.2,
        gt=0,
        lt=0.5,
        description="share of the rows kept for testing when there is no test_source, chosen by a hash of the text",
    )
    time: str | None = Field(
        None,
        min_length=1,
        description="column with each row's time (ISO 8601, UTC where it names no zone)",
    )
    window: str | None = Field(
        None,
        pattern=r"^[1-9][0-9]*[hdw]$",
        description="age of the oldest rows of `source` that are read, in hours, days or weeks, such as 30d; needs `time` and `until`",
    )
    until: str | None = Field(
        None,
        description="time (ISO 8601) from which on rows of `source` are left out, by `time`; in `source`, {date} stands for its day; a schedule sets it",
    )
    tfds_data_dir: str | None = Field(
        None,
        description="tfds sources: directory with prepared data; without it the data set is downloaded and prepared",
    )

    @field_validator("text", mode="before")
    @classmethod
    def _columns(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str | int) else value
        return tuple(str(name) for name in names) if isinstance(names, Iterable) else names

    @field_validator("until", mode="before")
    @classmethod
    def _instant(cls, value: Any) -> Any:
        if isinstance(value, datetime.date):  # YAML reads times as such
            return value.isoformat()
        if isinstance(value, str):
            datetime.datetime.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _bounded(self) -> DataConfig:
        if self.window and not self.time:
            raise ValueError("window needs `time`, the column with each row's time")
        return self

    @field_validator("label", mode="before")
    @classmethod
    def _column(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (len(set(value)) != len(value) or len(value) < 2):
            raise ValueError("needs at least two names, all different")
        return value


class ModelConfig(Section):
    """The encoder, what is taken from it, and the sizes of a `scratch` one."""

    encoder: str = Field(
        "minilm",
        description="scratch | hub:HANDLE, URL or directory | hf:REPO or directory | minilm (weights that come with kubert)",
    )
    preprocessor: str | None = Field(
        None,
        description="hub: only: handle of the preprocessor that holds the vocabulary; without it, the encoder's own vocabulary file",
    )
    freeze: bool = Field(
        False,
        description="true: the encoder is only read, its features are computed once and cached, and the head alone is trained",
    )
    max_length: int = Field(
        128,
        ge=8,
        le=512,
        description="tokens per text, [CLS] and [SEP] included; longer texts are cut",
    )
    pooling: Literal["auto", "mean", "cls", "pooled"] = Field(
        "auto",
        description="the text's vector: mean of its tokens, the first token, or the encoder's pooled output; auto: mean for scratch and minilm, else pooled",
    )
    dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of units dropped before the logits, and inside a trained encoder",
    )
    lower_case: bool = Field(
        True,
        description="scratch only: texts are lower-cased and stripped of accents before the vocabulary is learned",
    )
    vocabulary_size: int = Field(
        20_000, ge=100, le=200_000, description="scratch only: word pieces to learn at most"
    )
    layers: int = Field(1, ge=1, le=24, description="scratch only: transformer blocks")
    heads: int = Field(2, ge=1, le=32, description="scratch only: attention heads per block")
    hidden_size: int = Field(
        128,
        ge=8,
        le=2048,
        description="scratch only: width of the embeddings, a multiple of `heads`",
    )
    inner_size: int = Field(
        128, ge=8, le=8192, description="scratch only: width of the blocks' inner layer"
    )

    @field_validator("encoder")
    @classmethod
    def _known(cls, value: str) -> str:
        scheme, colon, rest = value.partition(":")
        if value in ("scratch", "minilm") or (scheme in ("hub", "hf") and colon and rest.strip()):
            return value
        raise ValueError(
            f"unknown encoder {value!r}; use scratch, minilm, hub:<handle, URL or directory> or hf:<repo or directory>"
        )

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if self.encoder == "scratch" and self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}"
            )
        if self.encoder == "scratch" and self.freeze:
            raise ValueError(
                "freeze: a scratch encoder starts from random weights, so freezing it leaves nothing to learn from"
            )
        return self

    @property
    def resolved_pooling(self) -> Literal["mean", "cls", "pooled"]:
        """`pooling` with auto resolved."""
        if self.pooling == "auto":
            return "mean" if self.encoder in ("scratch", "minilm") else "pooled"
        return self.pooling


class TokenizeConfig(Section):
    """How token shards are written."""

    shard_rows: int = Field(100_000, ge=1, description="rows per shard file")
    threads: int = Field(
        0,
        ge=0,
        description="threads that tokenize while the next rows are read (1: one after the other); 0: one per core",
    )


class TrainConfig(Section):
    """The optimizer, the batches and the gang of workers."""

    workers: int = Field(1, ge=1, le=256, description="worker processes (one per pod on a cluster)")
    epochs: int = Field(3, ge=1, le=10_000, description="passes over the training rows, at most")
    batch_size: int = Field(32, ge=1, description="rows per step, over all workers together")
    accumulate: int = Field(
        1,
        ge=1,
        description="parts that a worker's share of a batch is computed in, one after another, to save memory",
    )
    learning_rate: float = Field(
        5e-5, gt=0, le=1, description="peak rate, reached at the end of warm-up"
    )
    warmup_fraction: float = Field(
        0.1, ge=0, lt=1, description="share of all steps in which the rate rises from 0"
    )
    decay: Literal["linear", "constant"] = Field(
        "linear", description="linear: down to 0 at the last step; constant: stays at the peak"
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="AdamW's decay per step, times the rate; biases and layer norms are left out",
    )
    clip_norm: float = Field(
        1.0, ge=0, description="largest norm of the whole gradient; 0: no clipping"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "float32",
        description="of the matrix products, all else is float32 (float16 scales the loss); "
        "auto: bfloat16 on a processor of this machine that multiplies it natively, else float32",
    )
    xla: bool = Field(
        False, description="compile the step with XLA (slower on CPU, faster on most GPUs)"
    )
    seed: int = Field(1, ge=0, lt=2**31, description="of initial weights, order and dropout")
    buckets: tuple[int, ...] = Field(
        DEFAULT_LENGTH_BUCKETS,
        min_length=1,
        description="lengths in tokens that batches are padded to; the largest is max_length in any case",
    )
    window: int = Field(
        50,
        ge=1,
        description="batches per window within which rows are grouped by length; 1: no grouping",
    )
    best_by: Literal["accuracy", "loss"] = Field(
        "accuracy",
        description="which epoch's weights are kept: the highest validation accuracy (of equal ones the lowest loss), or the lowest validation loss",
    )
    patience: int = Field(
        0,
        ge=0,
        description="epochs that are no better by `best_by` before training stops; 0: never",
    )
    checkpoint_steps: int = Field(200, ge=1, description="steps between two checkpoints")
    keep_checkpoints: int = Field(
        2, ge=1, description="checkpoints kept while training, besides the best one"
    )
    max_restarts: int = Field(
        3, ge=0, description="restarts of the whole gang after a worker failed"
    )
    start_deadline: int = Field(
        300, ge=1, description="seconds a worker waits for its peers to appear"
    )
    stall_deadline: int = Field(
        600, ge=1, description="seconds without a step before the gang is given up as hung"
    )

    @field_validator("buckets")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value[0] < 1 or any(a >= b for a, b in itertools.pairwise(value)):
            raise ValueError("lengths must be positive and rise")
        return value

    @model_validator(mode="after")
    def _enough_rows(self) -> TrainConfig:
        if self.batch_size < self.workers:
            raise ValueError(
                f"batch_size {self.batch_size} is smaller than workers {self.workers}: a worker would have no rows"
            )
        return self


class EvaluateConfig(Section):
    """What is measured and what a candidate must reach."""

    min_accuracy: float = Field(
        0.0, ge=0, le=1, description="test accuracy below which the gate closes"
    )
    batch_size: int = Field(128, ge=1, description="rows per step of evaluation")
    mistakes: int = Field(
        20,
        ge=0,
        description="most confident mistakes shown in the report, with their texts; 0: no user's text in it",
    )


Precision = Literal["float32", "bfloat16"]
"""What a served model's matrix products may be computed in."""


class ExportConfig(Section):
    """Where the released model goes."""

    model_store: str = Field(
        "models",
        min_length=1,
        description="directory, gs:// or s3:// that holds models; a relative path is below the work directory",
    )
    model_name: str = Field(
        "news",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        description="name of the model in the store",
    )
    precision: Precision = Field(
        "float32",
        description="of the served model's matrix products; bfloat16 answers faster on processors that multiply it natively and much more "
        "slowly on others, is released only if its accuracy is at most 0.3 points below the evaluated one, and cannot be had for hub:",
    )
    warmup_requests: int = Field(
        4, ge=0, le=1000, description="requests that a server replays before it takes traffic"
    )


class Config(Section):
    """The whole configuration of a run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    tokenize: TokenizeConfig = TokenizeConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    export: ExportConfig = ExportConfig()
    cluster: ClusterConfig = ClusterConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @model_validator(mode="after")
    def _servable(self) -> Config:
        if self.export.precision != "float32" and self.model.encoder.startswith("hub:"):
            raise ValueError(
                f"export.precision {self.export.precision}: a hub: encoder computes as it was saved; use float32"
            )
        return self
