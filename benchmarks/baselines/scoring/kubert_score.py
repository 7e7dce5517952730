"""`kubert score` of one source, again and again: a round is one whole batch prediction.

python -m benchmarks.baselines.scoring.kubert_score RELEASE SOURCE OUTPUT WORKERS

A round counts the rows, loads the model, scores and writes the output into a new directory below
OUTPUT. With 0 workers it does so in this process, so that only the imports are warm; workers are
started in each round, and nothing is.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from benchmarks.harness.contender import MeasurementLoop
from components.batch_prediction import step
from components.batch_prediction.request import BatchPredictionRequest
from components.config.data import DataConfig


def main(release: str, source: str, output: str, workers: str) -> None:
    """Score until the input ends."""
    rounds = MeasurementLoop(warm_up=0 if int(workers) else 1)
    for number in itertools.count():
        rounds.wait_for_start()
        done = step.run(
            BatchPredictionRequest(
                release=release,
                data=DataConfig(source=source, text="text"),
                to=str(Path(output) / str(number)),
                format="csv",
                workers=int(workers),
            )
        )
        rounds.report_measurement(done.content.rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
