"""The models and the rows that the suite trains, prepared once each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.baselines.full_rows import write_full_rows
from benchmarks.models import small_bert
from components.config.schema import ModelConfig, TrainConfig
from components.model.encoders import hugging_face
from components.model.encoders.checkpoint.checkpoint_files import read_json
from components.model.encoders.checkpoint.tokenizer_files import read_vocabulary
from components.train.job import Job

MANY = 1_000_000
UNTRAINED_SIZES = {"bert-base": small_bert.BERT_BASE, "tiny": small_bert.TINY}


@dataclass(frozen=True)
class ModelInputs:
    """A model's weights in Hugging Face's layout, and rows that fill its length.

    Below `home`: `shards` for kubert, `rows` for Hugging Face's Trainer.
    """

    encoder: str
    weights: Path
    home: Path
    length: int

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Those of config.json."""
        return read_json(self.weights / "config.json")

    @property
    def is_first_token_only(self) -> bool:
        """Whether kubert computes the last layer for the first token only."""
        return self.config.resolved_pooling != "mean"

    @property
    def config(self) -> ModelConfig:
        """The model's options."""
        return ModelConfig(encoder=self.encoder, max_length=self.length)

    def write_job(self, directory: Path, **train: Any) -> Path:
        """The file of a job on these rows with its state in `directory`."""
        options = {"checkpoint_every_steps": MANY, **train}
        job = Job(
            model=self.config,
            train=TrainConfig.model_validate(options),
            shards=str(self.home / "shards"),
            state=str(directory / "state"),
        )
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "job.json"
        path.write_text(job.model_dump_json(), encoding="utf-8")
        return path


def prepare_inputs(model: str, workdir: Path, rows: int, length: int) -> ModelInputs:
    """Write the rows, and the weights of a model that is not part of kubert (random ones)."""
    home = workdir / f"{model}-{rows}-rows"
    encoder, weights = model, workdir / f"{model}-weights"
    if model in UNTRAINED_SIZES:
        if not weights.exists():
            small_bert.write_untrained(weights, sizes=UNTRAINED_SIZES[model])
        encoder = f"hf:{weights}"
    else:
        weights = hugging_face.locate_checkpoint(model)
    if not home.exists():
        write_full_rows(home, encoder, read_vocabulary(weights), rows, length)
    return ModelInputs(encoder, weights, home, length)
