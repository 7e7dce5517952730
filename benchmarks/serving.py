"""A served release against the plain way to serve the same weights: latency of single texts, throughput of batches of 64.

    python -m benchmarks.serving --data DIR --workdir DIR

DIR holds test.csv of AG News. Both sides are SavedModels in float32 with the tokenizer in the graph, made here from MiniLM's
weights and one random head, and loaded into one process. The plain one pads every text to 128 tokens and calls Model
Garden's network itself; the other is what the export step writes. Requests come in pairs, the same texts to both, the
first of a pair in turn, on warm models. CPU seconds are the process's, all threads. A ratio is plain over ours of the same figure.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.alone import run_alone
from benchmarks.chapter import Chapter, Table
from components.artifacts.token_shards import Vocabulary
from components.config import ModelConfig
from components.model.classifier import Classifier, build_classifier
from components.model.encoders import vocabulary_of
from components.model.scratch import mean_of_tokens
from components.model.served import INPUT, SIGNATURE, ServedClassifier, save
from components.model.wordpiece import WordPiece

CLASSES = ("World", "Sports", "Business", "Sci/Tech")
LENGTH = 128
BATCH = 64
SINGLES, BATCHES, WARM = 400, 30, 3
SCALE = 40.0
"""Of the random head's weights: the scores then differ between texts as those of a trained one do."""
TOLERANCE = 1e-5
Model = Callable[..., dict[str, Any]]


class PlainClassifier(tf.Module):
    """The same signature without what kubert does for speed: every text padded to LENGTH, Model Garden's own call."""

    def __init__(self, classifier: Classifier, vocabulary: Vocabulary, classes: Sequence[str]) -> None:
        super().__init__()
        self.weights = list(classifier.variables)
        self.tokenizer = WordPiece(vocabulary)
        self.names = tf.constant(list(classes))
        network = classifier.encoder.network

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=INPUT)])
        def classify(text: tf.Tensor) -> dict[str, tf.Tensor]:
            ids = self.tokenizer(text, LENGTH).to_tensor(vocabulary.pad_id, shape=[None, LENGTH])
            mask = tf.cast(ids != vocabulary.pad_id, tf.int32)
            outputs = network({"input_word_ids": ids, "input_mask": mask, "input_type_ids": tf.zeros_like(ids)})
            scores = tf.nn.softmax(classifier.logits(mean_of_tokens(outputs["sequence_output"], mask)))
            index = tf.argmax(scores, axis=1, output_type=tf.int32)
            return {"label": tf.gather(self.names, index), "label_index": index, "scores": scores}

        self.classify = classify


@dataclass(frozen=True)
class Timed:
    """One side's requests: seconds each, by the clock and of the processor."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def at(self, quantile: float) -> float:
        """A quantile of the wall seconds."""
        return float(np.quantile(self.wall, quantile))


def export_both(workdir: Path) -> tuple[Path, Path]:
    """(plain, served): directories of the two SavedModels, made anew."""
    config = ModelConfig(encoder="minilm", max_length=LENGTH)
    vocabulary = vocabulary_of(config)
    assert vocabulary is not None
    classifier = build_classifier(config, vocabulary, len(CLASSES), seed=1)
    classifier.logits.kernel.assign(SCALE * classifier.logits.kernel)
    plain, served = workdir / "serving-plain", workdir / "serving-served"
    module = PlainClassifier(classifier, vocabulary, CLASSES)
    tf.saved_model.save(module, str(plain), signatures={SIGNATURE: module.classify})
    save(ServedClassifier(classifier, vocabulary, CLASSES, LENGTH), served)
    return plain, served


def read_texts(data: Path) -> list[str]:
    """Title and description of the test rows, in an order that is random and always the same."""
    with (data / "test.csv").open(encoding="utf-8", newline="") as stream:
        texts = [f"{title} {description}".strip() for _, title, description in csv.reader(stream)]
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))]


def timed_pairs(plain: Model, served: Model, requests: Sequence[Any]) -> tuple[Timed, Timed]:
    """Both models' times for the requests beyond the first WARM; SystemExit if their scores differ by more than TOLERANCE."""
    times: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    for number, request in enumerate(requests):
        scores = {}
        for side in (0, 1) if number % 2 else (1, 0):
            wall, cpu = time.perf_counter(), time.process_time()
            scores[side] = (plain, served)[side](**{INPUT: request})["scores"].numpy()
            times[side].append((time.perf_counter() - wall, time.process_time() - cpu))
        if not (difference := float(np.abs(scores[0] - scores[1]).max())) <= TOLERANCE:
            raise SystemExit(f"the two models' scores differ by {difference:.2g}")
    first, second = (Timed(*map(tuple, zip(*times[side][WARM:], strict=True))) for side in (0, 1))
    return first, second


def chapter(data: Path, workdir: Path) -> Chapter:
    """Export both, and measure; `data` holds test.csv."""
    loaded = [tf.saved_model.load(str(directory)) for directory in export_both(workdir)]
    plain, served = (model.signatures[SIGNATURE] for model in loaded)
    texts, load = read_texts(data), os.getloadavg()[0]
    singles = [tf.constant([text]) for text in texts[: SINGLES + WARM]]
    batches = [tf.constant(texts[start : start + BATCH]) for start in range(0, BATCH * (BATCHES + WARM), BATCH)]
    one, many = timed_pairs(plain, served, singles), timed_pairs(plain, served, batches)
    p50, p99 = (one[0].at(quantile) / one[1].at(quantile) for quantile in (0.5, 0.99))
    single_cpu, cpu = (float(np.sum(pair[0].cpu) / np.sum(pair[1].cpu)) for pair in (one, many))
    wall = many[0].at(0.5) / many[1].at(0.5)
    latency = (
        ("wall ms, p50", *(f"{1000 * side.at(0.5):.1f}" for side in one), f"{p50:.2f}"),
        ("wall ms, p99", *(f"{1000 * side.at(0.99):.1f}" for side in one), f"{p99:.2f}"),
        ("CPU ms, mean", *(f"{1000 * float(np.mean(side.cpu)):.1f}" for side in one), f"{single_cpu:.2f}"),
    )
    throughput = (
        ("texts per CPU second, mean", *(f"{BATCH / float(np.mean(side.cpu)):.0f}" for side in many), f"{cpu:.2f}"),
        ("texts per wall second, median", *(f"{BATCH / side.at(0.5):.0f}" for side in many), f"{wall:.2f}"),
    )
    return Chapter(
        "Serving",
        {"serve_p50_vs_plain": round(p50, 3), "serve_batch64_vs_plain": round(cpu, 3)},
        (
            Table(f"One text per request, {SINGLES} pairs", ("figure", "plain", "kubert", "ratio"), latency),
            Table(f"{BATCH} texts per request, {BATCHES} pairs", ("figure", "plain", "kubert", "ratio"), throughput),
        ),
        (
            "serve_batch64_vs_plain is the ratio of CPU seconds; on an idle machine that of wall seconds is near it.",
            f"Load average before the requests: {load:.1f} on {os.cpu_count()} cores.",
        ),
    )


if __name__ == "__main__":
    run_alone("serving", __doc__, chapter)
