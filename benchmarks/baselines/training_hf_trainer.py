"""Hugging Face's `Trainer` on PyTorch: tokenized in advance, grouped by length, padded per batch.

python -m benchmarks.baselines.training_hf_trainer ROWS WEIGHTS [--device gpu]
    [--precision bfloat16] [--batch-size 32] [--length 128]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.baselines.training_inputs import read_rows
from benchmarks.harness.contender import MeasurementLoop

BATCH, LENGTH = 32, 128


def main(options: argparse.Namespace) -> None:
    """Train until the input ends; a round is one epoch."""
    rounds = MeasurementLoop()
    import transformers

    examples = read_rows(options.rows)
    tokenizer = transformers.BertTokenizerFast.from_pretrained(options.weights)
    encoded = tokenizer(examples["texts"], truncation=True, max_length=options.length)
    data = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(
            encoded["input_ids"], encoded["attention_mask"], examples["labels"], strict=True
        )
    ]
    with tempfile.TemporaryDirectory() as output:
        transformers.Trainer(
            model=transformers.BertForSequenceClassification.from_pretrained(
                options.weights, num_labels=examples["classes"]
            ),
            args=_build_arguments(output, options),
            train_dataset=data,
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
            callbacks=[_build_callback(rounds, len(data))],
        ).train()


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; by default the comparison on CPUs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("rows", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batch-size", type=int, default=BATCH)
    parser.add_argument("--length", type=int, default=LENGTH)
    return parser.parse_args(arguments)


def choose_precision_arguments(precision: str, device: str) -> dict[str, bool]:
    """The Trainer's options for a value of train.precision.

    On GPUs also whether products are TF32, so that float32 is what it is for kubert.
    """
    names = {"bfloat16": "bf16", "float16": "fp16"}
    chosen = {names[precision]: True} if precision in names else {}
    return chosen | ({"tf32": precision == "tf32"} if device == "gpu" else {})


def _build_arguments(output: str, options: argparse.Namespace) -> Any:
    import transformers

    return transformers.TrainingArguments(
        output_dir=output,
        use_cpu=options.device == "cpu",
        per_device_train_batch_size=options.batch_size,
        train_sampling_strategy="group_by_length",
        optim="adamw_torch",
        learning_rate=5e-5,
        weight_decay=0.01,
        num_train_epochs=10_000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **choose_precision_arguments(options.precision, options.device),
    )


def _build_callback(rounds: MeasurementLoop, examples: int) -> Any:
    import transformers

    class Turns(transformers.TrainerCallback):
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            rounds.wait_for_start()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            rounds.report_measurement(examples)

    return Turns()


if __name__ == "__main__":
    main(parse_options())
