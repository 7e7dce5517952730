"""Which GPUs of this machine each local worker uses. Pure functions."""

from __future__ import annotations

from components.errors import ConfigError
from components.gpu.driver import count_gpus

CUDA_VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_USE_CPUS = f"{CUDA_VISIBLE_DEVICES}= (empty) trains on CPUs"


def split_gpus(workers: int, gpus: int, visible: str | None) -> list[str | None]:
    """The value of CUDA_VISIBLE_DEVICES for each worker, in the order of their ranks.

    `gpus` is the number of GPUs that this process sees with its own CUDA_VISIBLE_DEVICES, which is
    `visible`; None if it is not set. One worker keeps it, and so uses all of them, with one replica
    each. Several workers get equally many consecutive ones, because a strategy needs as many
    replicas on each worker. Without GPUs nothing is set: every entry is None.

    Raises ConfigError if there are fewer GPUs than workers, or if they cannot be divided equally.
    """
    if gpus == 0 or workers == 1:
        return [visible] * workers
    if gpus % workers:
        divisors = ", ".join(str(count) for count in range(1, gpus + 1) if gpus % count == 0)
        raise ConfigError(
            f"train.workers is {workers}, and this machine shows {count_gpus(gpus)}: each worker "
            "needs as many as the others, at least one; "
            f"set train.workers to {divisors}, or {CUDA_VISIBLE_DEVICES} to a multiple of "
            f"{workers} GPUs; {_USE_CPUS}"
        )
    names = list_visible(gpus, visible)
    share = gpus // workers
    return [",".join(names[rank * share : (rank + 1) * share]) for rank in range(workers)]


def list_visible(gpus: int, visible: str | None) -> list[str]:
    """The names of the GPUs that this process sees, as CUDA_VISIBLE_DEVICES takes them.

    In a list, CUDA ignores what follows the first name that it does not know, so the GPUs that are
    seen are those of its first entries: indices, UUIDs or the beginnings of UUIDs.
    """
    if visible is None:
        return [str(index) for index in range(gpus)]
    return [name.strip() for name in visible.split(",")][:gpus]
