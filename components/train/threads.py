"""How many threads TensorFlow computes with."""

from __future__ import annotations

from typing import NamedTuple

NARROW = 128
"""Up to this hidden size, half of the cores are enough for one operation. CPU and wall ms per step on two cores, bfloat16, 32 rows of 56 tokens,
one thread per operation against two: 4 layers 128 wide 67 and 45, 86 and 51; 256 wide 156 and 106, 185 and 102."""


class Threads(NamedTuple):
    """Threads that share one operation (intra-op), and operations that may run at a time (inter-op)."""

    within: int
    between: int


def threads_for(cores: int, hidden_size: int | None) -> Threads:
    """The faster choice for an encoder of this width; None stands for a width that is not known.

    Waiting threads spin: where an operation is too short to be split, they cost CPU time and make nothing faster.
    """
    narrow = hidden_size is not None and hidden_size <= NARROW
    return Threads(max(1, cores // 2) if narrow else cores, cores)
