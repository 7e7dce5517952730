"""The rows and the weights that the contenders of the training benchmarks share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from components.artifacts.token_shards import ShardsContent
from components.config import schema
from components.config.loading import load_config
from components.config.schema import Config, DataConfig
from components.data.labelled_text import open_dataset
from components.data.split_names import SPLITS, SplitName
from components.tokenize_text import step
from components.train.hardware import resolve_precision
from components.train.job import Job

PRESETS = Path(__file__).parents[2] / "pipeline" / "presets"
HELD_OUT_ROWS = 64
MANY_STEPS = 1_000_000


class Example(NamedTuple):
    """A row of the data set: its split, its text and the index of its class."""

    split: SplitName
    text: str
    label: int


def load_preset(name: str, data: Path, *assignments: str) -> Config:
    """A configuration that comes with kubert, on the AG News files in `data`."""
    sources = (
        f"data.source={json.dumps(str(data / 'train.csv'))}",
        f"data.test_source={json.dumps(str(data / 'test.csv'))}",
    )
    return load_config(PRESETS / f"{name}.yaml", (*sources, *assignments))


def write_rows(config: DataConfig, directory: Path, count: int) -> DataConfig:
    """Write `count` training rows, spread over the source, and a few others; how to read them.

    `train.json` holds the texts and labels of the training rows, for the baselines.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open_dataset(config) as dataset:
        rows = [
            Example(SPLITS[split], str(text), label)
            for batch in dataset.read_examples()
            for split, text, label in zip(
                batch.splits.tolist(), batch.texts, batch.labels, strict=True
            )
        ]
        classes = dataset.labels.classes
    train = [row for row in rows if row.split == "train"]
    step_between = len(train) // count
    train = train[::step_between][:count]
    held_out = {
        split: list(islice((row for row in rows if row.split == split), HELD_OUT_ROWS))
        for split in ("validation", "test")
    }
    _write_lines(directory / "rows.jsonl", classes, (*train, *held_out["validation"]))
    _write_lines(directory / "test.jsonl", classes, held_out["test"])
    texts = {
        "texts": [row.text for row in train],
        "labels": [row.label for row in train],
        "classes": len(classes),
    }
    (directory / "train.json").write_text(json.dumps(texts), encoding="utf-8")
    return DataConfig(
        source=str(directory / "rows.jsonl"),
        test_source=str(directory / "test.jsonl"),
        text=("text",),
        label="label",
        classes=classes,
        validation_fraction=config.validation_fraction,
    )


def _write_lines(path: Path, classes: tuple[str, ...], rows: Iterable[Example]) -> None:
    path.write_text(
        "".join(json.dumps({"text": row.text, "label": classes[row.label]}) + "\n" for row in rows),
        encoding="utf-8",
    )


def read_rows(directory: Path) -> dict[str, Any]:
    """`texts`, `labels` and the number of `classes`."""
    value: dict[str, Any] = json.loads((directory / "train.json").read_text(encoding="utf-8"))
    return value


def write_shards(config: Config, directory: Path) -> ShardsContent:
    """Token shards by kubert's own step."""
    return step.run(config.data, config.model, config.tokenize, directory)


def prepare_rows(config: Config, home: Path, count: int) -> Config:
    """Write rows to `home/rows` and their shards to `home/shards`; the configuration for them."""
    config = config.model_copy(update={"data": write_rows(config.data, home / "rows", count)})
    rows = write_shards(config, home / "shards").splits["train"].rows
    if rows != count:
        raise ValueError(f"kubert trains on {rows} rows, the baselines on {count}")
    return config


def write_job(config: Config, shards: Path, home: Path, **train: Any) -> Path:
    """The file of a job that trains without end and never saves in the middle of an epoch."""
    endless = {
        "epochs": 10_000,
        "checkpoint_every_steps": MANY_STEPS,
        "stall_timeout": MANY_STEPS,
        "rendezvous_timeout": MANY_STEPS,
    }
    options = resolve_precision(
        schema.TrainConfig.model_validate(config.train.model_dump() | endless | train), "local"
    )
    home.mkdir(parents=True, exist_ok=True)
    path = home / "job.json"
    job = Job(model=config.model, train=options, shards=str(shards), state=str(home / "state"))
    path.write_text(job.model_dump_json(), encoding="utf-8")
    return path
