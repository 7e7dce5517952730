"""Which GPUs of this machine each local worker uses. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from components.errors import ConfigError
from components.gpu.driver import count_gpus

CUDA_VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_HIDING_MASKS = frozenset({"", "-1", "NoDevFiles"})
"""What people and batch systems set to hide all GPUs; Slurm sets the last."""
_USE_CPUS = f"{CUDA_VISIBLE_DEVICES}= (empty) leaves the work to CPUs"


def is_hiding_all(visible: str | None) -> bool:
    """Whether this CUDA_VISIBLE_DEVICES hides all GPUs on purpose; None if it is not set."""
    return visible is not None and visible.strip() in _HIDING_MASKS


def describe_mask_fault(visible: str) -> str:
    """Why CUDA shows no GPU for this CUDA_VISIBLE_DEVICES, whatever the machine has; else empty.

    CUDA ends the list at the first entry that names no GPU, and takes a list with an entry twice
    for an empty one.
    """
    names = [name.strip() for name in visible.split(",")]
    if not names[0]:
        return "begins with an empty entry, which ends the list"
    named = names[: names.index("")] if "" in names else names
    twice = next((name for name in named if named.count(name) > 1), None)
    return f"names {twice} twice, which hides all GPUs" if twice is not None else ""


def list_visible(gpus: int, visible: str | None) -> list[str]:
    """The names of the `gpus` GPUs that this process sees, as CUDA_VISIBLE_DEVICES takes them.

    `visible` is its value; None if it is not set. In a list, CUDA ignores what follows the first
    name that it does not know, so the GPUs that are seen are those of its first entries: indices,
    UUIDs or the beginnings of UUIDs. Raises ConfigError if they are not named, once each.
    """
    if visible is None:
        return [str(index) for index in range(gpus)]
    names = [name.strip() for name in visible.split(",")][:gpus]
    if len(set(names) - {""}) < gpus:
        raise ConfigError(
            f"{CUDA_VISIBLE_DEVICES}={visible!r} does not name each of the {count_gpus(gpus)} that "
            "the driver shows, once: name each by its index or UUID, as nvidia-smi -L lists them, "
            f"such as {CUDA_VISIBLE_DEVICES}=0,1, or unset it"
        )
    return names


def split_gpus(workers: int, names: Sequence[str], option: str = "train.workers") -> list[str]:
    """The value of CUDA_VISIBLE_DEVICES for each worker, in the order of their ranks.

    Workers get equally many consecutive GPUs, because a strategy needs as many replicas on each.
    Raises ConfigError if there are fewer GPUs than workers, or if they cannot be divided equally:
    TensorFlow takes all memory of a GPU for one process. `option` is what sets `workers`.
    """
    count = len(names)
    if count % workers:
        divisors = ", ".join(str(number) for number in range(1, count + 1) if count % number == 0)
        raise ConfigError(
            f"this machine shows {count_gpus(count)}, and {option} is {workers}: each worker "
            "needs as many as the others, at least one; "
            f"set {option} to {divisors}, or {CUDA_VISIBLE_DEVICES} to a multiple of "
            f"{workers} GPUs, or cluster.gpus to the number for each worker; {_USE_CPUS}"
        )
    share = count // workers
    return [",".join(names[rank * share : (rank + 1) * share]) for rank in range(workers)]
