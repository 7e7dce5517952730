"""The GPUs that TensorFlow sees in this process, and the check that a worker has those it needs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from components.config.environment import ENV_GPUS, ENV_GPUS_OPTIONAL
from components.errors import HardwareError
from components.gpu.driver import GpuDevice, count_gpus, probe_driver
from components.gpu.kernel_compilation import choose_cache_variables, describe_compilation
from components.gpu.local_gpus import UnusedGpus
from components.gpu.missing_gpus import find_cause, format_missing_gpus
from components.gpu.tensorflow_build import find_kernel_support, read_tensorflow_build


def check_worker_gpus(state: str, rank: int) -> str:
    """The note about GPUs that this worker was given and does not see, where they are optional.

    Empty if it sees them all; HardwareError if they are not optional. `state` is the job's
    directory, below which the driver keeps kernels that it compiles. Call it before anything that
    takes time: the node may be paid for.
    """
    wanted = int(os.environ.get(ENV_GPUS, "0"))
    if not wanted:
        return ""
    # Before TensorFlow initializes the driver, which reads them.
    os.environ.update(choose_cache_variables(os.environ, state, rank))
    return check_gpus(wanted, is_optional=ENV_GPUS_OPTIONAL in os.environ)


def check_gpus(wanted: int, *, is_optional: bool = False) -> str:
    """The note about GPUs that a worker does not use; empty if TensorFlow sees `wanted` GPUs.

    Raises HardwareError with the reason and the remedy if it sees fewer, unless `is_optional`.
    Imports TensorFlow, and initializes none of its devices.
    """
    built = _list_built_capabilities()
    capabilities = [gpu.compute_capability for gpu in list_tensorflow_gpus()]
    # TensorFlow lists GPUs that it has no kernels for, and leaves them out when it starts.
    seen = sum(find_kernel_support(built, each) != "none" for each in capabilities)
    if seen < wanted:
        cause = find_cause(wanted, read_tensorflow_build(), probe_driver(), os.environ)
        if is_optional:
            return UnusedGpus(count_gpus(wanted - seen), cause).note
        raise HardwareError(format_missing_gpus("a worker needs", wanted, seen, cause))
    return ""


def describe_kernel_compilation() -> str:
    """What the user should know if TensorFlow has no kernels for its GPUs; empty if it has."""
    return describe_compilation(_list_built_capabilities(), list_tensorflow_gpus())


def list_tensorflow_gpus() -> list[GpuDevice]:
    """The GPUs that TensorFlow sees; their memory is 0, because that would initialize them."""
    import tensorflow as tf

    found = []
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", (0, 0))
        found.append(GpuDevice(details.get("device_name", gpu.name), 0, capability))
    return found


def _list_built_capabilities() -> Sequence[str]:
    import tensorflow as tf

    capabilities: Sequence[str] = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", ())
    return capabilities
