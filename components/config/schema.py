"""All options: one validated, frozen section per step.

This is the only list of options: `kubert config` prints it, the pipeline's parameters are derived
from it, and each step reads its own section. Descriptions state the units. Unknown options and
impossible values are refused before anything runs.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.cluster import MODEL_NAME, ClusterConfig, ScheduleConfig
from components.config.data import SAMPLE_SOURCE, DataConfig
from components.config.evaluate import EvaluateConfig, check_metrics, list_minimum_classes
from components.config.model import ModelConfig
from components.config.score import ScoreConfig, check_label_options, check_output_options
from components.config.section import Section
from components.config.task import BestMetric, TaskConfig, check_task
from components.errors import shorten_value

__all__ = [
    "SAMPLE_SOURCE",
    "ClusterConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ModelConfig",
    "ScheduleConfig",
    "ScoreConfig",
    "TaskConfig",
    "TokenizeConfig",
    "TrainConfig",
]
DEFAULT_LENGTH_BUCKETS = (*range(8, 128, 8), *range(128, 256, 16), *range(256, 513, 32))
MAX_SEED = 2**31 - 1


class TokenizeConfig(Section):
    """How token shards are written."""

    rows_per_shard: int = Field(100_000, ge=1, description="rows per shard file")
    threads: int = Field(
        0,
        ge=0,
        description="threads that tokenize while the next rows are read "
        "(1: tokenize between reads); 0: one per CPU core",
    )
    max_unknown: float = Field(
        0.05,
        ge=0,
        le=1,
        description="fraction of word pieces that may be [UNK]; above it the run stops, because "
        "the tokenizer does not fit the texts",
    )
    keep_texts: bool = Field(
        False,
        description="store the texts of the training rows in the shards, too; cross-validation, "
        "which holds out all rows in turn, sets it",
    )


class TrainConfig(Section):
    """The workers, the batches, the optimizer and the checkpoints."""

    workers: int = Field(1, ge=1, le=256, description="worker processes; on a cluster one per pod")
    epochs: int = Field(
        3, ge=1, le=10_000, description="maximum number of passes over the training rows"
    )
    batch_size: int = Field(32, ge=1, description="rows per step, over all workers together")
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        description="parts into which a worker's share of a batch is divided to save memory; "
        "their gradients are accumulated",
    )
    learning_rate: float = Field(
        5e-5, gt=0, le=1, description="peak learning rate, reached at the end of the warm-up"
    )
    warmup_fraction: float = Field(
        0.1, ge=0, lt=1, description="fraction of all steps in which the learning rate rises from 0"
    )
    lr_schedule: Literal["linear", "constant"] = Field(
        "linear",
        description="learning rate after the warm-up: linear: decays to 0 at the last step; "
        "constant: stays at the peak",
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="AdamW's weight decay per step, times the learning rate; biases and layer "
        "norms are excluded",
    )
    clip_norm: float = Field(
        1.0, ge=0, description="maximum global norm of the gradient; 0: no clipping"
    )
    precision: Literal["auto", "float32", "tf32", "bfloat16", "float16"] = Field(
        "float32",
        description="data type of the matrix products, all else is float32 (float16 scales the "
        "loss); tf32: float32 with products of 10 instead of 23 bits of mantissa, on GPUs from "
        "Ampere on; auto: bfloat16 if this machine's GPUs, or without GPUs its CPU, multiply it "
        "natively, else float32",
    )
    xla: bool = Field(
        False,
        description="compile the training step with XLA (slower on CPUs, faster on most GPUs); "
        "training batches then have at most 4 of the lengths of `length_buckets`",
    )
    seed: int = Field(
        1, ge=0, le=MAX_SEED, description="seed of the initial weights, the row order and dropout"
    )
    length_buckets: tuple[int, ...] = Field(
        DEFAULT_LENGTH_BUCKETS,
        min_length=1,
        description="lengths in tokens to which batches are padded; `model.max_length` is always "
        "the largest",
    )
    length_grouping_batches: int = Field(
        50,
        ge=1,
        description="batches within which rows are grouped by length; 1: no grouping",
    )
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field(
        "none",
        description="weights of the classes in the training loss: none: all equal; balanced: "
        "inversely proportional to their training rows; or a weight above 0 for the name of each "
        "class; only their ratios matter. With task.kind=multi_label a weight counts for the rows "
        "that have the label, against 1 for those that do not; balanced: rows without it / rows "
        "with it",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability that the training loss takes from a row's class and spreads over "
        "all classes; with task.kind=multi_label over having and not having each label",
    )
    best_metric: Literal["auto", BestMetric] = Field(
        "auto",
        description="validation metric that selects the best epoch: highest accuracy, macro-F1, "
        "micro-F1 or subset accuracy (of equal ones the lowest loss), or lowest loss; auto: "
        "accuracy for task.kind=single_label, micro_f1 for multi_label, loss for regression",
    )
    early_stopping_patience: int = Field(
        0,
        ge=0,
        description="epochs without improvement of `best_metric` after which training stops; "
        "0: no early stopping",
    )
    checkpoint_every_steps: int = Field(200, ge=1, description="steps between two checkpoints")
    keep_checkpoints: int = Field(
        2, ge=1, description="newest checkpoints that are kept during training, besides the best"
    )
    max_restarts: int = Field(
        3, ge=0, description="restarts of all workers after a worker has failed"
    )
    rendezvous_timeout: int = Field(
        300, ge=1, description="seconds for which a worker waits for all other workers to appear"
    )
    stall_timeout: int = Field(
        600, ge=1, description="seconds without a completed step after which workers are restarted"
    )

    @field_validator("length_buckets")
    @classmethod
    def _check_increasing(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value[0] < 1 or any(a >= b for a, b in itertools.pairwise(value)):
            raise ValueError("lengths must be positive and increasing")
        return value

    @field_validator("class_weights", mode="before")
    @classmethod
    def _check_class_weights(cls, value: Any) -> Any:
        if value in ("none", "balanced"):
            return value
        if not isinstance(value, dict) or not value:
            raise ValueError("must be none, balanced, or a weight for the name of each class")
        for name, weight in value.items():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not 0 < weight < math.inf:
                raise ValueError(f"the weight of {name!r} must be a number above 0, not {weight!r}")
        return {str(name): float(weight) for name, weight in value.items()}

    @model_validator(mode="after")
    def _check_batch_size(self) -> TrainConfig:
        if self.batch_size < self.workers:
            raise ValueError(
                f"batch_size {self.batch_size} is smaller than workers {self.workers}: "
                "a worker would have no rows"
            )
        return self


Precision = Literal["float32", "bfloat16"]
"""Data types of a served model's matrix products."""


Calibration = Literal["none", "temperature"]
"""How the scores of a served model are calibrated."""


class ExportConfig(Section):
    """Where models are released, and how they are served."""

    model_store: str = Field(
        "models",
        min_length=1,
        description="model registry: a directory, gs:// or s3:// URI; a relative path is below "
        "the work directory",
    )
    model_name: str = Field(
        "news",
        pattern=MODEL_NAME,
        description="name of the model in the registry",
    )
    precision: Precision = Field(
        "float32",
        description="data type of the served model's matrix products; bfloat16 is faster on CPUs "
        "that multiply it natively and much slower on others, is released only if its accuracy is "
        "at most 0.3 points below the evaluated one, and is not available for hub: encoders",
    )
    calibrate: Calibration = Field(
        "none",
        description="make scores as often right as they say: temperature: divide the logits by one "
        "number, which the evaluation fits on the validation rows; `evaluate.threshold` then "
        "applies to the calibrated scores",
    )
    warmup_requests: int = Field(
        4, ge=0, le=1000, description="requests that a server replays before it takes traffic"
    )


class Config(Section):
    """The whole configuration of a run."""

    task: TaskConfig = TaskConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    tokenize: TokenizeConfig = TokenizeConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    export: ExportConfig = ExportConfig()
    cluster: ClusterConfig = ClusterConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    score: ScoreConfig = ScoreConfig()

    @model_validator(mode="after")
    def _check_task(self) -> Config:
        check_task(self)
        check_metrics(self.evaluate, self.task.kind)
        return self

    @model_validator(mode="after")
    def _check_one_part_of_a_gpu_per_pod(self) -> Config:
        cluster = self.cluster
        is_in_one_pod = cluster.backend == "local" and self.train.workers > 1
        if cluster.gpus and cluster.has_gpu_parts and is_in_one_pod:
            raise ValueError(
                f"train.workers {self.train.workers}: with cluster.backend=local they share a pod, "
                f"where only one {cluster.gpu_resource} can be used; use cluster.backend=jobset, "
                "or one worker"
            )
        return self

    @model_validator(mode="after")
    def _check_class_names(self) -> Config:
        """Where the classes are configured, those of minima and weights are known to be wrong."""
        option, classes = self._name_classes()
        if not classes:
            return self
        weights = self.train.class_weights
        weighted = [*weights] if isinstance(weights, dict) else [*classes]
        named = {
            "evaluate.minimum": list_minimum_classes(self.evaluate),
            "train.class_weights": weighted,
        }
        for owner, names in named.items():
            for name in names:
                if name not in classes:
                    raise ValueError(f"{owner}: {option} has no class {shorten_value(name)!r}")
        for name in classes:
            if name not in weighted:
                raise ValueError(
                    f"train.class_weights: no weight for {shorten_value(name)!r} of {option}; give "
                    "one for each class, 1 for those that need none of their own"
                )
        return self

    def _name_classes(self) -> tuple[str, tuple[str, ...]]:
        """The classes, as far as the configuration names them, and the option that does."""
        if self.data.classes is None and len(self.data.label_columns) > 1:
            return "data.label", tuple(map(str.strip, self.data.label_columns))
        return "data.classes", self.data.classes or ()

    @model_validator(mode="after")
    def _check_scoring(self) -> Config:
        """What a scoring would refuse at its end is known before; the model is that of the run."""
        score = self.score
        check_output_options(score.format, embeddings=score.embeddings, all_scores=score.all_scores)
        if score.release is None:
            model = f"the model of task.kind={self.task.kind}"
            check_label_options(score, self.task.kind, self._name_classes()[1], model)
        return self

    @model_validator(mode="after")
    def _check_long_pairs(self) -> Config:
        if self.data.text_pair is not None and self.model.long_texts != "cut":
            raise ValueError(
                f"model.long_texts {self.model.long_texts}: of pairs (data.text_pair) the longer "
                "text is cut first; use model.long_texts=cut, or raise model.max_length"
            )
        return self

    @model_validator(mode="after")
    def _check_servable(self) -> Config:
        if self.export.precision != "float32" and self.model.encoder.startswith("hub:"):
            raise ValueError(
                f"export.precision {self.export.precision}: a hub: encoder computes in the "
                "precision it was saved with; use float32"
            )
        return self
