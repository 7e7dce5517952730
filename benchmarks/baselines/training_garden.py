"""Model Garden's trainer: `run_experiment` for sentence prediction, TFRecords padded to 128.

    python -m benchmarks.baselines.training_garden ROWS WEIGHTS WORKDIR

The experiment is `bert/sentence_prediction`; sizes, rows and the number of steps are set here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import components  # noqa: F401  # sets TensorFlow's environment
from benchmarks.baselines.training_inputs import read_rows
from benchmarks.harness import absent_packages
from benchmarks.harness.contender import MeasurementLoop
from benchmarks.models import garden_bert

BATCH, LENGTH = 32, 128


def main(rows: Path, weights: Path, workdir: Path) -> None:
    """Train until the input ends; a round is one of the trainer's loops, an epoch long."""
    rounds = MeasurementLoop()
    absent_packages.install_stand_ins()
    from official.common import distribute_utils
    from official.core import train_lib
    from official.nlp.tasks.sentence_prediction import SentencePredictionTask

    class Task(SentencePredictionTask):
        def initialize(self, model: Any) -> None:
            garden_bert.load_weights(model.checkpoint_items["encoder"], weights)

    examples = read_rows(rows)
    records = write_records(examples, weights, workdir / "train.tfrecord")
    experiment = _build_experiment(
        records,
        garden_bert.read_sizes(weights),
        examples["classes"],
        len(examples["texts"]) // BATCH,
    )
    strategy = distribute_utils.get_distribution_strategy("one_device", num_gpus=0)
    with strategy.scope():
        task = Task(experiment.task)

    def finish_round(_: Any) -> None:
        rounds.report_measurement(len(examples["texts"]))
        rounds.wait_for_start()

    rounds.wait_for_start()
    train_lib.run_experiment(
        strategy, task, "train", experiment, str(workdir / "model"), train_actions=[finish_round]
    )


def write_records(examples: dict[str, Any], weights: Path, path: Path) -> Path:
    """The rows as its data loader reads them: ids, mask and segments of 128 each."""
    import tensorflow as tf

    from components.model.encoders.checkpoint import tokenizer_files
    from components.model.tokenizer import WordPiece

    ragged = WordPiece(tokenizer_files.read_vocabulary(weights))(
        tf.constant(examples["texts"]), LENGTH
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for ids, label in zip(ragged.to_list(), examples["labels"], strict=True):
            padding = [0] * (LENGTH - len(ids))
            columns = {
                "input_ids": ids + padding,
                "input_mask": [1] * len(ids) + padding,
                "segment_ids": [0] * LENGTH,
                "label_ids": [label],
            }
            features = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for name, values in columns.items()
            }
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
            )
    return path


def _build_experiment(records: Path, sizes: dict[str, int], classes: int, steps: int) -> Any:
    from official.core import exp_factory
    from official.nlp.configs import finetuning_experiments  # noqa: F401  # registers the experiment

    experiment = exp_factory.get_exp_config("bert/sentence_prediction")
    encoder = {
        "vocab_size": sizes["vocab_size"],
        "hidden_size": sizes["hidden_size"],
        "num_layers": sizes["num_layers"],
        "num_attention_heads": sizes["num_attention_heads"],
        "intermediate_size": sizes["inner_dim"],
        "max_position_embeddings": sizes["max_sequence_length"],
        "type_vocab_size": sizes["type_vocab_size"],
    }
    endless = steps * 10_000
    experiment.override(
        {
            "task": {
                "model": {"num_classes": classes, "encoder": {"type": "bert", "bert": encoder}},
                "train_data": {
                    "input_path": str(records),
                    "global_batch_size": BATCH,
                    "seq_length": LENGTH,
                },
            },
            "trainer": {
                "train_steps": endless,
                "steps_per_loop": steps,
                "summary_interval": steps,
                "checkpoint_interval": endless,
                "optimizer_config": {
                    "learning_rate": {"polynomial": {"decay_steps": endless}},
                    "warmup": {"polynomial": {"warmup_steps": steps}},
                },
            },
        },
        is_strict=False,
    )
    return experiment


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
