"""A frozen encoder: what its features cost once, against what an epoch costs that reads them from the cache.

python -m benchmarks.suites.frozen --data DIR --workdir DIR
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.baselines import training_inputs
from benchmarks.harness import interleaving
from benchmarks.harness.contender import Side, started
from benchmarks.harness.report import Chapter, Table
from benchmarks.harness.single import run_alone

CONFIG = "ag_news_minilm_frozen"
ROWS = 2000
EPOCHS = 15


def chapter(data: Path, workdir: Path) -> Chapter:
    """The chapter: one real worker in the shipped configuration."""
    shutil.rmtree(workdir, ignore_errors=True)
    chosen = training_inputs.prepare(training_inputs.shipped(CONFIG, data), workdir, ROWS)
    job = training_inputs.write_job(chosen, workdir / "shards", workdir / "ours")
    sides = {
        "ours": Side("benchmarks.baselines.training_ours", [job], workdir / "logs" / "ours.log")
    }
    with started(**sides):
        rounds = interleaving.take_turns(sides, EPOCHS)["ours"]
    first = rounds[0].more["feature_cpu"] * ROWS
    later = interleaving.median(round.cpu for round in rounds)
    return Chapter(
        title="A frozen encoder",
        figures={"frozen_later_epochs": first / later},
        tables=(
            Table(
                f"CPU seconds for {ROWS} rows of AG News, configuration `{CONFIG}` (batches of {chosen.train.batch_size})",
                (
                    "the encoder's features, once",
                    f"a later epoch, from the cache (median of {EPOCHS})",
                    "ratio",
                ),
                ((f"{first:.2f}", f"{later:.4f}", f"{first / later:.0f}"),),
            ),
        ),
        notes=(
            "A real worker; the features' first batch, which compiles, is left out, and so is the first epoch. "
            "An epoch without a cache costs the features and the head; so the ratio is what the cache saves, less one.",
        ),
    )


if __name__ == "__main__":
    run_alone("frozen", __doc__, chapter)
