"""Several replicas against one: the losses of real workers must be equal to rounding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.suites.gpu.inputs import ModelInputs, prepare_inputs
from benchmarks.suites.gpu.page import Check, Section
from benchmarks.suites.gpu.processes import Devices, Process, run_processes
from benchmarks.suites.gpu.settings import GpuSettings
from components.artifacts.checkpoint import open_checkpoint
from components.train import worker
from components.train.job import StateLayout
from components.workers.topology import WorkerTopology, find_free_port

TITLE = "Replicas against one"
TOLERANCE = 1e-4
"""Largest difference between two losses of a step, in nats, that counts as rounding. On CPUs the
largest was 7e-7; on GPUs the parts of a batch are multiplied by other kernels than the batch."""
MIN_CHANGE = 100 * TOLERANCE
"""Losses must differ between the steps by this, or equal losses would show nothing."""
BATCH_SIZE = 16
ONE = (1, 1)
WORKER = "components.train.worker"
LOGICAL_WORKER = "benchmarks.baselines.training_logical_devices"


@dataclass(frozen=True)
class TrainedLosses:
    """The loss of every step, and what the chief logged about its replicas."""

    workers: int
    replicas: int
    losses: tuple[float, ...]
    log_line: str

    @property
    def title(self) -> str:
        """For tables, such as "1 worker x 2"."""
        return f"{self.workers} worker{'s' if self.workers > 1 else ''} x {self.replicas}"


def prepare_rows(settings: GpuSettings, workdir: Path) -> ModelInputs:
    """The rows of the groups; the last batch is short, so that replicas' shares of it differ."""
    rows = BATCH_SIZE * settings.replica_steps - BATCH_SIZE // 2 - 1
    return prepare_inputs(settings.replica_model, workdir, rows, settings.length)


def list_groups(devices: int, *, has_worker_groups: bool) -> list[tuple[int, int]]:
    """(workers, replicas of each): one replica first, then as many as there are devices."""
    if devices < 2:
        return [ONE]
    return [ONE, (1, devices), *([(2, devices // 2)] if has_worker_groups else [])]


def compare_losses(one: Sequence[float], other: Sequence[float]) -> float:
    """The largest difference of a step's losses; infinite if the numbers of steps differ."""
    if len(one) != len(other):
        return float("inf")
    # A NaN is greater than nothing: it must not pass for a small difference.
    differences = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return max(value if value == value else float("inf") for value in differences)


def check_losses(one: TrainedLosses, other: TrainedLosses) -> Check:
    """Whether a group's losses are those of one replica."""
    difference = compare_losses(one.losses, other.losses)
    change = max(one.losses) - min(one.losses)
    detail = f"largest difference {difference:.1e}, allowed {TOLERANCE:.0e}"
    if not change >= MIN_CHANGE:
        detail += f"; the losses differ by {change:.1e} only, so this shows nothing"
    passed = difference <= TOLERANCE and change >= MIN_CHANGE
    return Check(f"{other.title} replicas: losses of one replica", passed, detail)


def run_section(settings: GpuSettings, devices: Devices, workdir: Path) -> Section:
    """Train the same rows by every group, and compare the losses of the steps."""
    inputs = prepare_rows(settings, workdir)
    groups = list_groups(devices.count, has_worker_groups=settings.has_worker_groups)
    one, *others = [
        train_group(
            inputs,
            settings.replica_learning_rate,
            devices,
            (workers, replicas),
            workdir / "replicas" / f"{workers}x{replicas}",
        )
        for workers, replicas in groups
    ]
    checks = [check_losses(one, other) for other in others]
    if not others:
        checks = [Check("Several replicas: losses of one replica", None, "needs two GPUs")]
    return Section(
        BenchmarkReport(
            TITLE,
            {
                f"largest_difference_{other.workers}x{other.replicas}": compare_losses(
                    one.losses, other.losses
                )
                for other in others
            },
            (_format_losses([one, *others]), _format_groups([one, *others])),
            (
                f"Real workers train {settings.replica_model} in float32 on the same rows, with "
                f"dropout 0.1, in batches of {BATCH_SIZE} over all replicas; the last one is "
                "short.",
            ),
        ),
        tuple(checks),
    )


def train_group(
    inputs: ModelInputs,
    learning_rate: float,
    devices: Devices,
    group: tuple[int, int],
    home: Path,
    module: str | None = None,
) -> TrainedLosses:
    """The losses of one epoch by a group (workers, replicas of each) of real workers.

    `module` replaces the worker's. RuntimeError if a worker fails.
    """
    workers, replicas = group
    job = inputs.write_job(home, epochs=1, batch_size=BATCH_SIZE, learning_rate=learning_rate)
    is_logical = replicas > 1 and not devices.gpus
    addresses = tuple(f"127.0.0.1:{find_free_port()}" for _ in range(workers))
    members = [
        Process(
            module or (LOGICAL_WORKER if is_logical else WORKER),
            [job, *([replicas] if is_logical else [])],
            {
                **devices.build_variables(rank * replicas, replicas),
                "TF_CONFIG": WorkerTopology(workers=addresses, rank=rank).to_tf_config(),
            },
            home / f"worker-{rank}.log",
        )
        for rank in range(workers)
    ]
    outputs = run_processes(*members)
    found = re.search(
        r"\d+ replicas, here on [^\n]*", outputs[0] + members[0].log.read_text(errors="replace")
    )
    state = StateLayout(Path(worker.read_job(str(job)).state))
    losses = open_checkpoint(state.finished_checkpoint).content.step_losses
    return TrainedLosses(workers, replicas, tuple(losses), found[0] if found else "")


def _format_losses(groups: Sequence[TrainedLosses]) -> Table:
    rows = [
        (str(step + 1), *(f"{loss:.7f}" for loss in losses))
        for step, losses in enumerate(zip(*(group.losses for group in groups), strict=True))
    ]
    return Table("Loss of each step", ("step", *(group.title for group in groups)), tuple(rows))


def _format_groups(groups: Sequence[TrainedLosses]) -> Table:
    one = groups[0]
    rows = [
        (group.title, f"{compare_losses(one.losses, group.losses):.1e}", group.log_line)
        for group in groups
    ]
    columns = ("workers x replicas", "largest difference", "the chief's log")
    return Table("Groups", columns, tuple(rows))
