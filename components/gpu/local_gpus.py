"""The GPUs of this machine that local workers use, and the variables that give each its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from components.config.environment import ENV_GPUS, ENV_GPUS_OPTIONAL
from components.errors import HardwareError
from components.gpu.assignment import CUDA_VISIBLE_DEVICES, is_hiding_all, list_visible, split_gpus
from components.gpu.driver import DriverReport, GpuDevice, count_gpus, probe_driver
from components.gpu.missing_gpus import (
    Cause,
    add_remedy,
    describe_missing_gpus,
    find_cause,
    find_obstacle,
    list_usable_gpus,
)
from components.gpu.tensorflow_build import TensorFlowBuild, read_tensorflow_build

_LOCAL_REMEDY = "cluster.gpus=0 trains with what is there"


class UnusedGpus(NamedTuple):
    """GPUs of this machine that no worker uses, such as "2 GPUs", or "GPUs" if none are known."""

    gpus: str
    cause: Cause

    @property
    def note(self) -> str:
        """What a person should know: the reason and the remedy."""
        return f"{self.gpus} not used: {self.cause.reason}; {self.cause.remedy}"


class LocalGpus(NamedTuple):
    """The GPUs that the workers of a training on this machine use.

    devices: all of them; each is used by one worker.
    masks: CUDA_VISIBLE_DEVICES of each worker, by rank, if any uses GPUs; None leaves it as it is.
    unused: GPUs that are there, or may be because a driver is; None if there are none.
    """

    devices: tuple[GpuDevice, ...] = ()
    masks: tuple[str | None, ...] = ()
    unused: UnusedGpus | None = None


def find_local_gpus(workers: int, per_worker: int, option: str = "train.workers") -> LocalGpus:
    """The GPUs of this machine that this many workers use, `per_worker` (cluster.gpus) each.

    With 0 they share all that TensorFlow can use, which may be none. Neither imports TensorFlow nor
    keeps the driver loaded: the driver is asked in a process of its own, and TensorFlow's build is
    read from its file. Raises HardwareError if fewer are there than asked for, and ConfigError if
    those that are there cannot be divided equally. `option` is what sets `workers`.
    """
    build, driver = read_tensorflow_build(), probe_driver()
    return choose_local_gpus(workers, per_worker, build, driver, os.environ, option)


def choose_local_gpus(
    workers: int,
    per_worker: int,
    build: TensorFlowBuild | None,
    driver: DriverReport,
    environment: Mapping[str, str],
    option: str = "train.workers",
) -> LocalGpus:
    """`find_local_gpus` for a given build, driver and environment."""
    if shortage := find_shortage(workers, per_worker, build, driver, environment):
        raise HardwareError(add_remedy(*shortage))
    usable, needed = list_usable_gpus(build, driver), workers * per_worker
    unused = None if needed else _find_unused(build, driver, environment, len(usable))
    if not usable:
        return LocalGpus(unused=unused)
    visible = environment.get(CUDA_VISIBLE_DEVICES)
    every_name = list_visible(len(driver.devices), visible)
    chosen = [
        (gpu, name)
        for gpu, name in zip(driver.devices, every_name, strict=True)
        if gpu in usable  # equal GPUs are usable alike
    ][: needed or None]
    names = [name for _, name in chosen]
    takes_all = workers == 1 and names == every_name
    masks = [visible] if takes_all else split_gpus(workers, names, option)
    return LocalGpus(tuple(gpu for gpu, _ in chosen), tuple(masks), unused)


def find_shortage(
    workers: int,
    per_worker: int,
    build: TensorFlowBuild | None,
    driver: DriverReport,
    environment: Mapping[str, str],
) -> Cause | None:
    """Why the workers cannot have `per_worker` GPUs each; None if they can, and with 0."""
    needed = workers * per_worker
    cause = find_obstacle(needed, build, driver, environment) if needed else None
    if cause is None:
        return None
    seen, is_one = len(list_usable_gpus(build, driver)), workers == 1
    option = "cluster.gpus" if is_one else f"cluster.gpus={per_worker}, {workers} workers"
    fewer = "lower train.workers" if seen and not is_one else ""
    remedies = [cause.remedy, fewer, _LOCAL_REMEDY]
    return Cause(
        describe_missing_gpus("the training needs", needed, seen, cause.reason, option),
        "; ".join(filter(None, remedies)),
    )


def build_gpu_variables(workers: int, per_worker: int, gpus: LocalGpus) -> list[dict[str, str]]:
    """The environment variables about GPUs of each local worker, by rank.

    `per_worker` is cluster.gpus: if it is 0, a worker that sees fewer GPUs than its share warns,
    and trains with what it sees.
    """
    if not gpus.devices:
        return [{} for _ in range(workers)]
    share = {ENV_GPUS: str(len(gpus.devices) // workers)}
    common = share if per_worker else {**share, ENV_GPUS_OPTIONAL: "1"}
    return [common | ({} if mask is None else {CUDA_VISIBLE_DEVICES: mask}) for mask in gpus.masks]


def _find_unused(
    build: TensorFlowBuild | None,
    driver: DriverReport,
    environment: Mapping[str, str],
    usable: int,
) -> UnusedGpus | None:
    """The GPUs that may be there and are not used; None if there are none, or hidden on purpose."""
    count = len(driver.devices)
    is_there = driver.is_broken or driver.other_directories or count > usable
    if not is_there or is_hiding_all(environment.get(CUDA_VISIBLE_DEVICES)):
        return None
    cause = find_cause(max(count, 1), build, driver, environment)
    return UnusedGpus(count_gpus(count - usable) if count else "GPUs", cause)
