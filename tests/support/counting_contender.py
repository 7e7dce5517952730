"""A contender that trains nothing: it prints like a library and exits in its third round."""

from __future__ import annotations

import os

from benchmarks.harness.contender import MeasurementLoop

if __name__ == "__main__":
    rounds = MeasurementLoop()
    for number in range(3):
        rounds.wait_for_start()
        print("a library's own output")
        rounds.report_measurement(
            100 + number,
            threads=float(os.environ["THREADS"]),
            cores=float(len(os.sched_getaffinity(0))),
        )
    rounds.wait_for_start()
    raise SystemExit("no more rows")
