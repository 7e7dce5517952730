"""Times the all-reduce of the training step on the devices of one worker.

    python -m benchmarks.baselines.all_reduce [--logical-devices COUNT] BYTES...

Prints one line of JSON: the number of devices and, for each size, the bytes of every device's
tensor, the seconds of one all-reduce (median), and whether it adds up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)
from benchmarks.harness.logical_devices import use_logical_devices

REPEATS, CHAIN = 9, 8
"""Timed calls, and reductions in each: one after another, so that a call's own cost is shared."""
FLOAT_BYTES = 4


def main() -> None:
    """Measure all sizes and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--logical-devices", type=int, default=0)
    parser.add_argument("bytes", type=int, nargs="+")
    arguments = parser.parse_args()
    if arguments.logical_devices:
        use_logical_devices(arguments.logical_devices)
    from components.train.loop.collectives import create_strategy

    strategy = create_strategy()
    sizes = [measure_size(strategy, size) for size in arguments.bytes]
    print(json.dumps({"devices": strategy.num_replicas_in_sync, "sizes": sizes}))
    sys.stdout.flush()


def measure_size(strategy: Any, size: int) -> dict[str, Any]:
    """The median time of one all-reduce of `size` bytes per device, and whether it adds up."""
    import tensorflow as tf

    from components.train.loop.train_step import all_reduce

    def reduce_chain(value: Any) -> Any:
        for _ in range(CHAIN):
            (value,) = all_reduce([value])
        return value[0]

    @tf.function
    def run_chain(values: Any) -> Any:
        return strategy.run(reduce_chain, args=(values,))

    def make_values(number: float) -> Any:
        def fill(context: Any) -> Any:
            devices = strategy.extended.worker_devices
            with tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
                return tf.fill([size // FLOAT_BYTES], number)

        return strategy.experimental_distribute_values_from_function(fill)

    def read_result(values: Any) -> float:
        return float(strategy.experimental_local_results(run_chain(values))[0])

    is_sum = read_result(make_values(1.0)) == float(strategy.num_replicas_in_sync) ** CHAIN
    zeros, seconds = make_values(0.0), []
    for _ in range(REPEATS):
        started = time.perf_counter()
        read_result(zeros)
        seconds.append((time.perf_counter() - started) / CHAIN)
    return {"bytes": size, "seconds": statistics.median(seconds), "is_sum": is_sum}


if __name__ == "__main__":
    main()
