"""How many folds this machine trains side by side, and which cores and GPUs each of them has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import psutil

from components.config.schema import Config
from components.gpu.assignment import CUDA_VISIBLE_DEVICES
from components.gpu.local_gpus import find_local_gpus

SMALL_ENCODERS = ("scratch", "minilm")
SMALL_MODEL_BYTES = 2 * 2**30
LARGE_MODEL_BYTES = 6 * 2**30
"""Memory of one worker, about: TensorFlow, weights, gradients, the optimizer's state, and a batch.

That of a small encoder or of one that is not trained, and that of BERT-base, with default options.
"""


class FoldSlot(NamedTuple):
    """What one of the folds that are trained side by side has.

    cores: those that its processes run on; empty: all. variables: environment variables.
    """

    cores: tuple[int, ...] = ()
    variables: Mapping[str, str] = MappingProxyType({})


def plan_slots(config: Config, folds: int, parallel: int | None = None) -> list[FoldSlot]:
    """The slots in which folds are trained: `parallel` of them, or as many as fit this machine.

    With GPUs that is one for each set of GPUs that a training needs, without them one per core and
    worker, as far as the memory allows. Each slot has its own GPUs, or an equal share of the cores,
    so that folds do not wait for each other. Raises HardwareError for too few GPUs, as the train
    step does.
    """
    workers, per_worker = config.train.workers, config.cluster.gpus
    if config.cluster.backend != "local":
        return [FoldSlot()] * min(folds, parallel or folds)
    gpus = len(find_local_gpus(workers, per_worker).devices)
    if gpus:
        everything = len(find_local_gpus(1, 0).devices)
        needed = workers * max(per_worker, 1)
        count = min(folds, parallel or folds, max(1, everything // needed))
        masks = find_local_gpus(count * workers, max(per_worker, 1)).masks if count > 1 else ()
        return [
            FoldSlot(variables=_build_mask(masks[slot * workers : (slot + 1) * workers]))
            for slot in range(count)
        ]
    cores = sorted(os.sched_getaffinity(0))
    fitting = max(1, min(len(cores) // workers, _count_fitting_in_memory(config)))
    return divide_cores(cores, min(folds, parallel or fitting))


def divide_cores(cores: Sequence[int], slots: int) -> list[FoldSlot]:
    """Equal shares of the cores, consecutive ones; all of them for each where they are too few."""
    if not 1 < slots <= len(cores):
        return [FoldSlot()] * slots
    limits = [slot * len(cores) // slots for slot in range(slots + 1)]
    return [FoldSlot(tuple(cores[limits[n] : limits[n + 1]])) for n in range(slots)]


def _count_fitting_in_memory(config: Config) -> int:
    model = config.model
    is_small = model.freeze or model.encoder in SMALL_ENCODERS
    needed = config.train.workers * (SMALL_MODEL_BYTES if is_small else LARGE_MODEL_BYTES)
    return int(psutil.virtual_memory().available // needed)


def _build_mask(masks: Sequence[str | None]) -> dict[str, str]:
    return {CUDA_VISIBLE_DEVICES: ",".join(filter(None, masks))} if masks else {}
