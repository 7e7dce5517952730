"""The GPUs of this machine that local workers use, and the variables that give each its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from components.config.environment import ENV_GPUS, ENV_GPUS_OPTIONAL
from components.errors import HardwareError
from components.gpu.assignment import CUDA_VISIBLE_DEVICES, split_gpus
from components.gpu.driver import DriverReport, GpuDevice, count_gpus, probe_driver
from components.gpu.missing_gpus import find_obstacle, format_missing_gpus, list_usable_gpus
from components.gpu.tensorflow_build import TensorFlowBuild, read_tensorflow_build


class LocalGpus(NamedTuple):
    """`devices` are used, each by one worker; `note` says why others are not, if there are any."""

    devices: tuple[GpuDevice, ...] = ()
    note: str = ""


def find_local_gpus(wanted: int) -> LocalGpus:
    """The GPUs of this machine that TensorFlow can use; HardwareError if fewer than `wanted`.

    Neither imports TensorFlow nor keeps the driver loaded: the driver is asked in a process of its
    own, and TensorFlow's build is read from its file.
    """
    return choose_local_gpus(wanted, read_tensorflow_build(), probe_driver(), os.environ)


def choose_local_gpus(
    wanted: int,
    build: TensorFlowBuild | None,
    driver: DriverReport,
    environment: Mapping[str, str],
) -> LocalGpus:
    """`find_local_gpus` for a given build, driver and environment."""
    usable, count = list_usable_gpus(build, driver), len(driver.devices)
    # All of them: with some, TensorFlow's own numbering would not be that of CUDA_VISIBLE_DEVICES.
    cause = find_obstacle(max(wanted, count), build, driver, environment)
    if cause is None:
        return LocalGpus(usable)
    if wanted:
        raise HardwareError(format_missing_gpus("the training needs", wanted, len(usable), cause))
    return LocalGpus((), f"{count_gpus(count)} not used: {cause.reason}; {cause.remedy}")


def build_gpu_variables(
    workers: int, gpus: int, wanted: int, visible: str | None
) -> list[dict[str, str]]:
    """The environment variables about GPUs of each local worker, by rank.

    `gpus` is the number of GPUs to use, `wanted` cluster.gpus: if it is 0, a worker that sees fewer
    GPUs than its share warns, and trains with what it sees. Raises ConfigError as `split_gpus`.
    """
    masks = split_gpus(workers, gpus, visible)
    if not gpus:
        return [{} for _ in masks]
    common = {ENV_GPUS: str(gpus // workers), **({} if wanted else {ENV_GPUS_OPTIONAL: "1"})}
    return [common | ({} if mask is None else {CUDA_VISIBLE_DEVICES: mask}) for mask in masks]
