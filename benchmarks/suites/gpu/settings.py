"""What the suite runs, by its options: trainings, sizes and numbers of rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Device = Literal["gpu", "cpu"]
MODELS = ("minilm", "bert-base", "tiny", "scratch")
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
TF32_CAPABILITY = (8, 0)
"""Ampere, the first GPUs that multiply TF32 and bfloat16."""
MIB = 1 << 20


@dataclass(frozen=True)
class TrainingSetup:
    """A model and how it is trained."""

    model: str
    precision: str
    xla: bool = False

    def __str__(self) -> str:
        return f"{self.model}:{self.precision}{':xla' if self.xla else ''}"


@dataclass(frozen=True)
class GpuSettings:
    """`setups` are timed; `graph_setups` are the steps whose operations are counted.

    `batch_size` rows per GPU and step, of `length` tokens. A round has `round_steps` steps.
    `reduction_bytes`: sizes of the tensors that are reduced. `peak_tflops` replaces the table.
    """

    device: Device
    setups: tuple[TrainingSetup, ...]
    graph_setups: tuple[TrainingSetup, ...]
    batch_size: int
    length: int
    round_steps: int
    rounds: int
    replica_model: str
    replica_steps: int
    replica_learning_rate: float
    has_worker_groups: bool
    reduction_bytes: tuple[int, ...]
    peak_tflops: float | None = None


def parse_setup(text: str) -> TrainingSetup:
    """MODEL:PRECISION[:xla]; ValueError with the possible values."""
    model, _, rest = text.partition(":")
    precision, _, xla = rest.partition(":")
    if model not in MODELS or precision not in PRECISIONS or xla not in ("", "xla"):
        raise ValueError(
            f"{text!r} is not MODEL:PRECISION[:xla]; models: {', '.join(MODELS)}; "
            f"precisions: {', '.join(PRECISIONS)}"
        )
    return TrainingSetup(model, precision, bool(xla))


def choose_setups(
    models: tuple[str, ...], capability: tuple[int, int] | None
) -> tuple[TrainingSetup, ...]:
    """Every precision that the GPU multiplies, with XLA off and on; None: no GPU, all of them.

    Before Ampere that is float16 in place of tf32 and bfloat16.
    """
    is_ampere = capability is None or capability >= TF32_CAPABILITY
    precisions = ("float32", "tf32", "bfloat16") if is_ampere else ("float32", "float16")
    return tuple(
        TrainingSetup(model, precision, xla)
        for model in models
        for precision in precisions
        for xla in (False, True)
    )


def choose_settings(
    device: Device, *, quick: bool, capability: tuple[int, int] | None = None
) -> GpuSettings:
    """The settings without further options. On CPUs, a step of BERT-base takes seconds."""
    if quick:
        return GpuSettings(
            device=device,
            setups=(TrainingSetup("tiny", "float32"),),
            graph_setups=(TrainingSetup("scratch", "float32"),),
            batch_size=8,
            length=32,
            round_steps=4,
            rounds=1,
            replica_model="tiny",
            replica_steps=5,
            replica_learning_rate=0.02,
            has_worker_groups=device == "gpu",
            reduction_bytes=(MIB // 16, MIB),
        )
    is_gpu = device == "gpu"
    return GpuSettings(
        device=device,
        setups=choose_setups(("minilm", "bert-base"), capability),
        graph_setups=(TrainingSetup("minilm", "bfloat16"), TrainingSetup("scratch", "float16")),
        batch_size=32 if is_gpu else 4,
        length=128,
        round_steps=50 if is_gpu else 2,
        rounds=5 if is_gpu else 1,
        replica_model="minilm",
        replica_steps=20 if is_gpu else 5,
        replica_learning_rate=2e-4,
        has_worker_groups=True,
        reduction_bytes=tuple(MIB * size for size in ((1, 4, 16, 32, 64, 256) if is_gpu else (1,))),
    )
