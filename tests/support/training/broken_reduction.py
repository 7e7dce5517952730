"""A worker whose replicas do not add up their gradients, only their losses.

python -m tests.support.training.broken_reduction JOB COUNT
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.harness.logical_devices import use_logical_devices
from components.train import worker


def break_reduction() -> None:
    """Let each replica train on the gradients of its own rows."""
    from components.train.loop import train_step

    reduce_all = train_step.all_reduce

    def reduce_totals_only(values: list[Any], pack_bytes: int = 0) -> list[Any]:
        gradients, totals = values[:-2], values[-2:]
        return [*gradients, *reduce_all(totals, pack_bytes)]

    train_step.all_reduce = reduce_totals_only


if __name__ == "__main__":
    use_logical_devices(int(sys.argv[2]))
    break_reduction()
    worker.main(sys.argv[1])
