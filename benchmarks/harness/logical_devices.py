"""Logical CPU devices in place of GPUs: a replica on each, where a machine has no GPU."""

from __future__ import annotations

from typing import Any


def use_logical_devices(count: int) -> None:
    """Let each worker of this process have `count` replicas, each on a logical CPU device.

    Call it before TensorFlow's context starts. A strategy takes several devices of a worker only if
    they are GPUs, so this replaces how it lists them.
    """
    import tensorflow as tf
    from tensorflow.python.distribute import collective_all_reduce_strategy

    (cpu,) = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, devices)

    def list_devices(_: Any, __: Any, worker_device: str) -> tuple[tuple[str, ...], str]:
        return tuple(f"{worker_device}/device:CPU:{index}" for index in range(count)), "CPU"

    extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
    extended._initialize_local_devices = list_devices
