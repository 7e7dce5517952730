"""A frozen encoder: the cost of its features, against an epoch that reads them from the cache.

python -m benchmarks.suites.frozen --data DIR --workdir DIR
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.baselines import training_inputs
from benchmarks.harness import interleaving
from benchmarks.harness.contender import Contender, start_contenders
from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.harness.single import run_single

CONFIG = "ag_news_minilm_frozen"
ROWS = 2000
EPOCHS = 15


def run_suite(data: Path, workdir: Path) -> BenchmarkReport:
    """Measure one real worker in the shipped configuration."""
    shutil.rmtree(workdir, ignore_errors=True)
    config = training_inputs.prepare_rows(training_inputs.load_preset(CONFIG, data), workdir, ROWS)
    job = training_inputs.write_job(config, workdir / "shards", workdir / "kubert")
    contenders = {
        "kubert": Contender(
            "benchmarks.baselines.training_kubert", [job], workdir / "logs" / "kubert.log"
        )
    }
    with start_contenders(**contenders):
        rounds = interleaving.interleave(contenders, EPOCHS)["kubert"]
    first = rounds[0].extra["feature_cpu"] * ROWS
    later = interleaving.median(round.cpu_seconds for round in rounds)
    return BenchmarkReport(
        title="A frozen encoder",
        figures={"frozen_later_epochs": first / later},
        tables=(
            Table(
                f"CPU seconds for {ROWS} rows of AG News, configuration `{CONFIG}` "
                f"(batches of {config.train.batch_size})",
                (
                    "the encoder's features, once",
                    f"a later epoch, from the cache (median of {EPOCHS})",
                    "ratio",
                ),
                ((f"{first:.2f}", f"{later:.4f}", f"{first / later:.0f}"),),
            ),
        ),
        notes=(
            "A real worker. The first batch of features, which compiles the graph, is not counted, "
            "nor is the first epoch. An epoch without a cache computes features and head, so the "
            "cache saves the ratio less one.",
        ),
    )


if __name__ == "__main__":
    run_single("frozen", __doc__, run_suite)
