"""A real worker with a replica on each of several logical CPU devices.

python -m benchmarks.baselines.training_logical_devices JOB COUNT
"""

from __future__ import annotations

import sys

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)
from benchmarks.harness.logical_devices import use_logical_devices
from components.train import worker

if __name__ == "__main__":
    use_logical_devices(int(sys.argv[2]))
    worker.main(sys.argv[1])
