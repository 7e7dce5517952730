"""A served release against a plain SavedModel: latency of single texts, throughput of batches.

    python -m benchmarks.suites.serving --data DIR --workdir DIR

DIR holds test.csv of AG News. All models are SavedModels with the tokenizer in the graph, made here
from MiniLM's weights and the same random head. The plain one pads every text to 128 tokens and
calls Model Garden's network in float32; the others are what the export step writes. A ratio is the
plain model's figure divided by kubert's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.baselines.serving_requests import BATCH, BATCHES, SINGLES
from benchmarks.harness.contender import ROOT
from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.harness.single import run_single
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig, Precision, TrainConfig
from components.model.classifier import Classifier, build_classifier
from components.model.encoders import load_vocabulary
from components.model.encoders.bert import BertEncoder
from components.model.fused_transformer import mean_pool
from components.model.serving_model import (
    INPUT_NAME,
    SIGNATURE_NAME,
    ServingModel,
    save_serving_model,
)
from components.model.tokenizer import WordPiece
from components.train.hardware import resolve_precision

CLASSES = ("World", "Sports", "Business", "Sci/Tech")
LENGTH = 128
SCALE = 40.0
"""Scale of the random head: scores then differ between texts as those of a trained head do."""
PLAIN = "plain"


class PlainClassifier(tf.Module):
    """The same signature without kubert's optimizations: all texts padded to LENGTH."""

    def __init__(
        self, classifier: Classifier, vocabulary: Vocabulary, classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.weights = list(classifier.variables)
        self.tokenizer = WordPiece(vocabulary)
        self.names = tf.constant(list(classes))
        assert isinstance(classifier.encoder, BertEncoder)
        network = classifier.encoder.network

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=INPUT_NAME)])
        def classify(text: tf.Tensor) -> dict[str, tf.Tensor]:
            ids = self.tokenizer(text, LENGTH).to_tensor(vocabulary.pad_id, shape=[None, LENGTH])
            mask = tf.cast(ids != vocabulary.pad_id, tf.int32)
            outputs = network(
                {"input_word_ids": ids, "input_mask": mask, "input_type_ids": tf.zeros_like(ids)}
            )
            scores = tf.nn.softmax(classifier.logits(mean_pool(outputs["sequence_output"], mask)))
            index = tf.argmax(scores, axis=1, output_type=tf.int32)
            return {"label": tf.gather(self.names, index), "label_index": index, "scores": scores}

        self.classify = classify


@dataclass(frozen=True)
class RequestTimes:
    """Wall and CPU seconds of each request to one model."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def wall_quantile(self, quantile: float) -> float:
        """A quantile of the wall seconds."""
        return float(np.quantile(self.wall, quantile))

    @property
    def mean_cpu(self) -> float:
        """Mean CPU seconds."""
        return float(np.mean(self.cpu))


Timings = dict[str, dict[str, RequestTimes]]
"""By "one" or "many", and by model."""


def native_precisions() -> tuple[Precision, ...]:
    """The precisions to measure: bfloat16 only where the processor supports it natively."""
    native = resolve_precision(TrainConfig(precision="auto"), "local").precision == "bfloat16"
    return ("float32", "bfloat16") if native else ("float32",)


def export_models(workdir: Path) -> dict[str, Path]:
    """Export all models; their directories by name, the plain one first."""
    config = ModelConfig(encoder="minilm", max_length=LENGTH)
    vocabulary = load_vocabulary(config)
    assert vocabulary is not None

    def classifier() -> Classifier:
        built = build_classifier(config, vocabulary, len(CLASSES), seed=1)
        built.logits.kernel.assign(SCALE * built.logits.kernel)
        return built

    directories = {PLAIN: workdir / "serving-plain"}
    module = PlainClassifier(classifier(), vocabulary, CLASSES)
    tf.saved_model.save(
        module, str(directories[PLAIN]), signatures={SIGNATURE_NAME: module.classify}
    )
    for precision in native_precisions():
        directories[precision] = workdir / f"serving-{precision}"
        save_serving_model(
            ServingModel(classifier(), vocabulary, CLASSES, LENGTH, precision),
            directories[precision],
        )
    return directories


def time_models(data: Path, directories: Mapping[str, Path], cores: Sequence[int]) -> Timings:
    """Request times of every model, in a process that is limited to these cores."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.baselines.serving_requests",
        str(data),
        *(f"{name}={directory}" for name, directory in directories.items()),
    ]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        check=True,
    )
    found = json.loads(done.stdout)
    return {
        kind: {
            name: RequestTimes(*map(tuple, zip(*times, strict=True)))
            for name, times in models.items()
        }
        for kind, models in found.items()
    }


def run_suite(data: Path, workdir: Path) -> BenchmarkReport:
    """Export all models and measure them; `data` holds test.csv."""
    directories, load = export_models(workdir), os.getloadavg()[0]
    cores = sorted(os.sched_getaffinity(0))
    alone, together = (time_models(data, directories, usable) for usable in (cores[:1], cores))
    plain, kubert = (alone["one"][name] for name in (PLAIN, "float32"))
    many_plain, many = (together["many"][name] for name in (PLAIN, "float32"))
    return BenchmarkReport(
        "Serving",
        {
            "serve_p50_vs_plain": round(plain.wall_quantile(0.5) / kubert.wall_quantile(0.5), 3),
            "serve_batch64_vs_plain": round(many_plain.mean_cpu / many.mean_cpu, 3),
        },
        (
            _format_latencies(alone, "one core, as a request gets when a server is busy"),
            _format_latencies(together, f"all {len(cores)} cores for each request"),
            _format_throughput(together),
        ),
        (
            "serve_p50_vs_plain is measured with export.precision=float32, the default, on one "
            "core. With more cores TensorFlow splits each operation over them: for a short text "
            "this costs half as much CPU time again and gains little; it gains more for a text "
            "that is padded to 128.",
            "The slowest hundredth (p99) are texts of 110 to 128 tokens, which have no padding "
            "to save: only a lower precision makes them faster.",
            "serve_batch64_vs_plain is the ratio of CPU seconds. Load average before the "
            f"requests: {load:.1f} on {len(cores)} cores.",
        ),
    )


def _format_latencies(timings: Timings, cores: str) -> Table:
    models = timings["one"]
    lines = [
        _format_line(
            f"wall ms, p{100 * quantile:.0f}",
            {name: 1000 * model.wall_quantile(quantile) for name, model in models.items()},
        )
        for quantile in (0.5, 0.99)
    ]
    lines.append(
        _format_line(
            "CPU ms, mean", {name: 1000 * model.mean_cpu for name, model in models.items()}
        )
    )
    return Table(
        f"One text per request, {SINGLES} requests to each, {cores}",
        _format_columns(models),
        tuple(lines),
    )


def _format_throughput(timings: Timings) -> Table:
    models = timings["many"]
    lines = [
        _format_line(
            "CPU ms per text, mean",
            {name: 1000 * model.mean_cpu / BATCH for name, model in models.items()},
        ),
        _format_line(
            "wall ms per text, median",
            {name: 1000 * model.wall_quantile(0.5) / BATCH for name, model in models.items()},
        ),
    ]
    return Table(
        f"{BATCH} texts per request, {BATCHES} requests to each, all cores",
        _format_columns(models),
        tuple(lines),
    )


def _format_columns(models: Mapping[str, Any]) -> tuple[str, ...]:
    _, *kubert = models
    return (
        "figure",
        PLAIN,
        *(f"{kind}{name}" for name in kubert for kind in ("kubert, ", "ratio, ")),
    )


def _format_line(name: str, values: Mapping[str, float]) -> tuple[str, ...]:
    plain, *kubert = values.values()
    return (
        name,
        f"{plain:.2f}",
        *(text for value in kubert for text in (f"{value:.2f}", f"{plain / value:.2f}")),
    )


if __name__ == "__main__":
    run_single("serving", __doc__, run_suite)
