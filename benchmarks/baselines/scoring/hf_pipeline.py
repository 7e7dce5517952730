"""Hugging Face's text-classification pipeline on PyTorch, over the same rows and the same weights.

python -m benchmarks.baselines.scoring.hf_pipeline WEIGHTS HEAD SOURCE OUTPUT BATCH

HEAD is a .npz with the classifier's `kernel` and `bias`. The model is loaded once, before the
rounds; a round reads the source, classifies every text and writes a CSV file.
"""

from __future__ import annotations

import csv
import itertools
import os
import sys
from pathlib import Path

from benchmarks.harness.contender import MeasurementLoop

MAX_LENGTH = 128


def main(weights: str, head: str, source: str, output: str, batch: str) -> None:
    """Classify until the input ends."""
    rounds = MeasurementLoop()
    import numpy as np
    import torch
    import transformers

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    values = np.load(head)
    model = transformers.BertForSequenceClassification.from_pretrained(
        weights, num_labels=len(values["bias"])
    ).eval()
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(values["kernel"].T.copy()))
        model.classifier.bias.copy_(torch.from_numpy(values["bias"]))
    classify = transformers.pipeline(
        "text-classification",
        model=model,
        tokenizer=transformers.BertTokenizerFast.from_pretrained(weights),
        device="cpu",
    )
    for number in itertools.count():
        rounds.wait_for_start()
        with open(source, encoding="utf-8", newline="") as stream:
            texts = [row["text"] for row in csv.DictReader(stream)]
        answers = classify(texts, batch_size=int(batch), truncation=True, max_length=MAX_LENGTH)
        path = Path(output) / str(number) / "predictions.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["label", "score"])
            writer.writerows((answer["label"], answer["score"]) for answer in answers)
        rounds.report_measurement(len(texts))


if __name__ == "__main__":
    main(*sys.argv[1:])
