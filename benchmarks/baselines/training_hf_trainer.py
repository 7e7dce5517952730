"""Hugging Face's `Trainer` on PyTorch: tokenized in advance, grouped by length, padded per batch.

python -m benchmarks.baselines.training_hf_trainer ROWS WEIGHTS
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.baselines.training_inputs import read_rows
from benchmarks.harness.contender import MeasurementLoop

BATCH, LENGTH = 32, 128


def main(rows: Path, weights: Path) -> None:
    """Train until the input ends; a round is one epoch."""
    rounds = MeasurementLoop()
    import transformers

    examples = read_rows(rows)
    tokenizer = transformers.BertTokenizerFast.from_pretrained(weights)
    encoded = tokenizer(examples["texts"], truncation=True, max_length=LENGTH)
    data = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(
            encoded["input_ids"], encoded["attention_mask"], examples["labels"], strict=True
        )
    ]
    with tempfile.TemporaryDirectory() as output:
        transformers.Trainer(
            model=transformers.BertForSequenceClassification.from_pretrained(
                weights, num_labels=examples["classes"]
            ),
            args=_build_arguments(output),
            train_dataset=data,
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
            callbacks=[_build_callback(rounds, len(data))],
        ).train()


def _build_arguments(output: str) -> Any:
    import transformers

    return transformers.TrainingArguments(
        output_dir=output,
        use_cpu=True,
        per_device_train_batch_size=BATCH,
        train_sampling_strategy="group_by_length",
        optim="adamw_torch",
        learning_rate=5e-5,
        weight_decay=0.01,
        num_train_epochs=10_000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
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
    main(Path(sys.argv[1]), Path(sys.argv[2]))
