"""Scoring the rows of a file: against Hugging Face's pipeline, and by two workers against one.

    python -m benchmarks.suites.scoring --data DIR --workdir DIR

DIR holds test.csv of AG News. All sides have MiniLM's weights, its pooler and the same random head,
in float32, and cut texts after 128 tokens. Against the pipeline both have one thread on the same
core. The pipeline's model is loaded before the rounds; kubert loads its model in each round.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import numpy as np

from benchmarks.baselines.serving_requests import read_texts
from benchmarks.harness import interleaving
from benchmarks.harness.contender import Contender, start_contenders
from benchmarks.harness.interleaving import Measurement
from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.harness.single import run_single
from components.artifacts.manifest import commit, staged_artifact
from components.artifacts.release import ReleaseContent
from components.config.schema import ModelConfig
from components.model.classifier import build_classifier
from components.model.encoders import load_vocabulary
from components.model.encoders.hugging_face import locate_checkpoint
from components.model.serving_model import ServingModel, save_serving_model

CLASSES = ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3")
"""As the pipeline names classes without names."""
LENGTH = 128
SCALE = 40.0
"""Scale of the random head: scores then differ between texts as those of a trained head do."""
PIPELINE_ROWS, PIPELINE_TURNS = 1000, 3
SCALING_REPEATS, SCALING_TURNS = 8, 1
"""Every text eight times: TensorFlow's start is then a fiftieth of the time."""
BATCHES = (1, 64)
"""The pipeline's default, which pads nothing, and kubert's."""
MAX_DIFFERENCE = 1e-4
"""Of a score; the label must be the same where the two sides agree this far."""


def export_model(directory: Path) -> None:
    """Write `release`, a release directory, and `head.npz`, the weights of its head."""
    config = ModelConfig(encoder="minilm", max_length=LENGTH, pooling="pooled")
    vocabulary = load_vocabulary(config)
    assert vocabulary is not None
    classifier = build_classifier(config, vocabulary, len(CLASSES), seed=1)
    kernel, bias = classifier.logits.kernel, classifier.logits.bias
    kernel.assign(SCALE * kernel)
    np.savez(directory / "head.npz", kernel=kernel.numpy(), bias=bias.numpy())
    with staged_artifact(directory / "release") as work:
        save_serving_model(ServingModel(classifier, vocabulary, CLASSES, LENGTH), work)
        content = ReleaseContent(
            classes=CLASSES, encoder="minilm", max_length=LENGTH, accuracy=0.0, accuracy_low=0.0,
            accuracy_high=0.0, macro_f1=None, test_rows=0, gate={}, parity_rows=0,
            parity_difference=0.0,
        )  # fmt: skip
        commit(work, "release", content=content.model_dump(mode="json"))


def write_source(path: Path, texts: Sequence[str]) -> Path:
    """A CSV file with a column `text`."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text"])
        writer.writerows([text] for text in texts)
    return path


def compare_outputs(kubert: Path, pipeline: Path) -> float:
    """The largest difference of a score; RuntimeError if the outputs do not agree."""
    rows = []
    for path in (kubert, pipeline):
        with path.open(encoding="utf-8", newline="") as stream:
            rows.append([*csv.DictReader(stream)])
    pairs = [*zip(*rows, strict=True)]
    difference = max(abs(float(ours["score"]) - float(their["score"])) for ours, their in pairs)
    others = sum(ours["label"] != their["label"] for ours, their in pairs)
    if difference > MAX_DIFFERENCE or others:
        raise RuntimeError(f"the outputs differ: {others} labels, scores by up to {difference:.2g}")
    return difference


def scaling_ratio(one: Measurement, two: Measurement) -> float:
    """Rows per second of two workers divided by those of one."""
    return one.wall_seconds / two.wall_seconds * two.examples / one.examples


def run_suite(data: Path, workdir: Path) -> BenchmarkReport:
    """Export the model, and measure both; `data` holds test.csv."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise RuntimeError("two workers need a core each, and this process may use one only")
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir(parents=True)
    export_model(workdir)
    texts, load = read_texts(data), os.getloadavg()[0]
    done, difference = _measure_pipelines(workdir, texts[:PIPELINE_ROWS], cores[0])
    scaled = _measure_workers(workdir, SCALING_REPEATS * texts, cores)
    ratios = {
        name: interleaving.median_ratio(done["kubert"], baseline)
        for name, baseline in done.items()
        if name != "kubert"
    }
    two_vs_one = [
        scaling_ratio(one, two) for one, two in zip(scaled["one"], scaled["two"], strict=True)
    ]
    return BenchmarkReport(
        "Scoring",
        {
            "score_vs_hf_pipeline": round(min(ratios.values()), 3),
            "score_two_workers": round(interleaving.median(two_vs_one), 3),
        },
        (
            _format_pipelines(done, ratios),
            _format_workers(scaled, two_vs_one),
        ),
        (
            "score_vs_hf_pipeline is the median over the turns of the pipeline's CPU seconds per "
            "text divided by kubert's, for the pipeline's faster batch size. Labels of all texts "
            f"are equal, and scores to {difference:.1g}.",
            "score_two_workers is the median of rows per second by the clock of `--workers 2` on "
            "two cores divided by those of `--workers 1` on one of them. A worker has one thread. "
            "Reading, counting and writing are done by the command, and starting TensorFlow by "
            f"each worker. Load average before: {load:.1f} on {len(cores)} cores.",
        ),
    )


def _measure_pipelines(
    workdir: Path, texts: Sequence[str], core: int
) -> tuple[dict[str, list[Measurement]], float]:
    """The turns of kubert and of the pipeline, and the largest difference of their scores."""
    source, home = write_source(workdir / "pipeline.csv", texts), workdir / "pipeline"
    environment = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    contenders = {
        "kubert": Contender(
            "benchmarks.baselines.scoring.kubert_score",
            [workdir / "release", source, home / "kubert", 0],
            workdir / "logs" / "kubert.log",
            [core],
        )
    }
    for batch in BATCHES:
        name = f"pipeline_{batch}"
        contenders[name] = Contender(
            "benchmarks.baselines.scoring.hf_pipeline",
            [locate_checkpoint("minilm"), workdir / "head.npz", source, home / name, batch],
            workdir / "logs" / f"{name}.log",
            [core],
            environment,
        )
    with start_contenders(**contenders) as started:
        done = interleaving.interleave(started, PIPELINE_TURNS)
    outputs = {name: home / name / "0" / "predictions.csv" for name in contenders}
    difference = max(
        compare_outputs(outputs["kubert"], outputs[name]) for name in contenders if name != "kubert"
    )
    return done, difference


def _measure_workers(
    workdir: Path, texts: Sequence[str], cores: Sequence[int]
) -> dict[str, list[Measurement]]:
    source, home = write_source(workdir / "workers.csv", texts), workdir / "workers"
    contenders = {
        name: Contender(
            "benchmarks.baselines.scoring.kubert_score",
            [workdir / "release", source, home / name, count],
            workdir / "logs" / f"{name}.log",
            cores[:count],
        )
        for name, count in {"one": 1, "two": 2}.items()
    }
    with start_contenders(**contenders) as started:
        return interleaving.interleave(started, SCALING_TURNS)


def _format_pipelines(
    done: Mapping[str, Sequence[Measurement]], ratios: Mapping[str, float]
) -> Table:
    rows = []
    for name, turns in done.items():
        milliseconds = [1000 / turn.examples_per_cpu_second for turn in turns]
        spread = (
            "{:.2f}-{:.2f}".format(*interleaving.ratio_range(done["kubert"], turns))
            if name in ratios
            else ""
        )
        rows.append(
            (
                name.replace("pipeline_", "pipeline, batch_size="),
                f"{interleaving.median(milliseconds):.2f}",
                f"{ratios[name]:.2f}" if name in ratios else "",
                spread,
            )
        )
    return Table(
        f"{PIPELINE_ROWS} texts on one core, {PIPELINE_TURNS} turns",
        ("side", "CPU ms per text", "kubert is faster by", "in the turns"),
        tuple(rows),
    )


def _format_workers(scaled: Mapping[str, Sequence[Measurement]], ratios: Sequence[float]) -> Table:
    def describe(name: str) -> tuple[str, str]:
        turns = scaled[name]
        rate = interleaving.median(turn.examples / turn.wall_seconds for turn in turns)
        cpu = interleaving.median(1000 * turn.cpu_seconds / turn.examples for turn in turns)
        return f"{rate:.1f}", f"{cpu:.2f}"

    rows = [(workers, *describe(name)) for workers, name in (("1", "one"), ("2", "two"))]
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    texts = scaled["one"][0].examples
    return Table(
        f"{texts} texts, {len(ratios)} turns; two workers are faster by {shown}",
        ("workers", "rows/s", "CPU ms per row"),
        tuple(rows),
    )


if __name__ == "__main__":
    run_single("scoring", __doc__, run_suite)
