"""Times interleaved requests to several saved models, in a process pinned to given cores.

    python -m benchmarks.baselines.serving_requests DATA NAME=DIRECTORY NAME=DIRECTORY...

Writes JSON: {"one" or "many": {name: [[wall seconds, CPU seconds] per request]}}. All requests of
a turn hold the same texts, and each turn starts with another model. CPU seconds are those of the
process with all its threads. Raises SystemExit if a model's scores differ from those of the first
model by more than TOLERANCE.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import numpy as np
import tensorflow as tf

from components.model.serving_model import INPUT_NAME, SIGNATURE_NAME

BATCH = 64
SINGLES, BATCHES, WARM = 300, 20, 3
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05}
Model = Callable[..., dict[str, Any]]
Times = dict[str, list[tuple[float, float]]]


def read_texts(data: Path) -> list[str]:
    """Title and description of the test rows, in an order that is random and always the same."""
    with (data / "test.csv").open(encoding="utf-8", newline="") as stream:
        texts = [f"{title} {description}".strip() for _, title, description in csv.reader(stream)]
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))]


def time_requests(models: Mapping[str, Model], requests: Sequence[Any]) -> Times:
    """The times of every model for all requests but the first WARM."""
    names = list(models)
    times: Times = {name: [] for name in names}
    for number, request in enumerate(requests):
        scores = {}
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            wall, cpu = time.perf_counter(), time.process_time()
            scores[name] = models[name](**{INPUT_NAME: request})["scores"].numpy()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        for name in names[1:]:
            if (
                not (difference := float(np.abs(scores[name] - scores[names[0]]).max()))
                <= TOLERANCE[name]
            ):
                raise SystemExit(
                    f"the scores of {name} differ from those of {names[0]} by {difference:.2g}"
                )
    return {name: every[WARM:] for name, every in times.items()}


def main() -> None:
    """Ask, and print the times."""
    data, *directories = sys.argv[1:]
    loaded = {
        name: tf.saved_model.load(directory)
        for name, _, directory in (directory.partition("=") for directory in directories)
    }
    models = {name: model.signatures[SIGNATURE_NAME] for name, model in loaded.items()}
    texts = read_texts(Path(data))
    singles = [tf.constant([text]) for text in texts[: SINGLES + WARM]]
    batches = [
        tf.constant(texts[start : start + BATCH])
        for start in range(0, BATCH * (BATCHES + WARM), BATCH)
    ]
    print(
        json.dumps({"one": time_requests(models, singles), "many": time_requests(models, batches)})
    )


if __name__ == "__main__":
    main()
