"""Two workers against one: the same global batches, every worker on a core of its own.

    python -m benchmarks.suites.scaling --data DIR --workdir DIR

Three groups of real workers take turns: one worker; two workers; and two workers that each compute
their share of a batch without any all-reduce. The last group shows the cost of the computation
without the peer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.baselines import training_inputs
from benchmarks.harness import interleaving
from benchmarks.harness.contender import Contender
from benchmarks.harness.interleaving import Measurement
from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.harness.single import run_single
from benchmarks.models import small_bert
from components.config.schema import Config
from components.workers.topology import WorkerTopology, find_free_port

CONFIG = "ag_news_minilm"
ROWS = 2400
BATCHES = (32, 128)
TURNS = 4
Turn = Sequence[Measurement]


class WorkerGroup:
    """Workers that do their rounds together."""

    def __init__(self, workers: Sequence[Contender]) -> None:
        self._workers = workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.__exit__(kind, error, trace)

    def wait_until_ready(self) -> None:
        """Return when all have warmed up."""
        for worker in self._workers:
            worker.wait_until_ready()

    def measure(self) -> Turn:
        """One round of every worker, all at the same time."""
        for worker in self._workers:
            worker.start()
        return [worker.read_measurement() for worker in self._workers]


@dataclass(frozen=True)
class StepShares:
    """Seconds of a worker's step, by activity."""

    wall: float
    compute: float
    reduce: float
    waiting: float


def wall_efficiency(one: Turn, two: Turn) -> float:
    """Scaling efficiency by wall time: step time of one worker / (2 x step time of two)."""
    return one[0].extra["step_wall"] / (2 * max(worker.extra["step_wall"] for worker in two))


def cpu_efficiency(one: Turn, two: Turn) -> float:
    """Scaling efficiency by CPU time: CPU seconds per step of one worker / those of two."""
    return one[0].extra["step_cpu"] / sum(worker.extra["step_cpu"] for worker in two)


def step_shares(two: Sequence[Turn], apart: Sequence[Turn]) -> list[StepShares]:
    """Where each worker's time goes; medians over the turns."""
    found = []
    for rank in range(len(two[0])):
        wall, cpu = (
            interleaving.median(turn[rank].extra[key] for turn in two)
            for key in ("step_wall", "step_cpu")
        )
        compute = interleaving.median(turn[rank].extra["step_cpu"] for turn in apart)
        found.append(StepShares(wall, compute, reduce=cpu - compute, waiting=wall - cpu))
    return found


def run_suite(data: Path, workdir: Path) -> BenchmarkReport:
    """Measure all groups; the figure is the efficiency for batches of 32."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise RuntimeError("two workers need a core each, and this process may use one only")
    shutil.rmtree(workdir, ignore_errors=True)
    config = training_inputs.prepare_rows(
        training_inputs.load_preset(
            CONFIG,
            data,
            f"model.encoder=hf:{small_bert.write_untrained(workdir / 'weights')}",
            "train.precision=float32",
        ),
        workdir,
        ROWS,
    )
    done = {batch: _measure(config, workdir, batch, cores) for batch in BATCHES}
    return BenchmarkReport(
        title="Two workers",
        figures={"scaling_two_workers": _median_efficiency(wall_efficiency, done[32])},
        tables=(_format_efficiencies(done), _format_shares(done)),
        notes=(
            "A BERT of 4 layers, 128 wide, in float32, batches grouped by length as shipped. Each "
            "worker is pinned to a core of its own and has one thread; the groups take turns. "
            "Step times are medians over the steps of an epoch, and then over the turns.",
            "Efficiency by wall time: step time of one worker / (2 x step time of two). By CPU: "
            "CPU seconds per step of one worker / those of two together. Where the machine has "
            "other load, only the second is meaningful.",
            "Compute: CPU seconds of a worker for its share of the same batches without any "
            "all-reduce, while another worker does the same on the other core. All-reduce: the "
            "additional CPU seconds in the group of two. Waiting: seconds of a step without any "
            "computation, because the peer or the loopback interface had not delivered, or other "
            "load had the core. The three add up to the step.",
        ),
    )


def _measure(
    config: Config, workdir: Path, batch: int, cores: Sequence[int]
) -> dict[str, list[Turn]]:
    """The turns of each gang."""
    ports = [f"127.0.0.1:{find_free_port()}" for _ in cores]
    home = workdir / f"batch-{batch}"

    def worker(
        group: str, core: int, *options: object, environment: Mapping[str, str] | None = None
    ) -> Contender:
        workers = 2 if group == "two" else 1
        where = home / (group if group == "two" else f"{group}-{core}")
        job = training_inputs.write_job(
            config, workdir / "shards", where, batch_size=batch, workers=workers
        )
        log = home / "logs" / f"{group}-{core}.log"
        return Contender(
            "benchmarks.baselines.training_kubert",
            [job, *options],
            log,
            [core],
            {"KUBERT_THREADS": "1", **(environment or {})},
        )

    def member(rank: int) -> dict[str, str]:
        return {"TF_CONFIG": WorkerTopology(workers=tuple(ports), rank=rank).to_tf_config()}

    groups = {
        "one": WorkerGroup([worker("one", cores[0])]),
        "two": WorkerGroup(
            [worker("two", core, environment=member(rank)) for rank, core in enumerate(cores)]
        ),
        "apart": WorkerGroup(
            [worker("apart", core, "--share", rank, 2) for rank, core in enumerate(cores)]
        ),
    }
    done: dict[str, list[Turn]] = {name: [] for name in groups}
    with ExitStack() as stack:
        for group in groups.values():
            stack.enter_context(group)
        for group in groups.values():
            group.wait_until_ready()
        for _ in range(TURNS):
            for name, group in groups.items():
                done[name].append(group.measure())
    return done


def _median_efficiency(
    measure: Callable[[Turn, Turn], float], done: Mapping[str, Sequence[Turn]]
) -> float:
    return interleaving.median(
        measure(one, two) for one, two in zip(done["one"], done["two"], strict=True)
    )


def _format_efficiencies(done: Mapping[int, Mapping[str, Sequence[Turn]]]) -> Table:
    def of(group: Sequence[Turn], key: str) -> float:
        return interleaving.median(max(worker.extra[key] for worker in turn) for turn in group)

    rows = [
        (
            str(batch),
            _format_ms(of(groups["one"], "step_wall")),
            _format_ms(of(groups["two"], "step_wall")),
            f"{_median_efficiency(wall_efficiency, groups):.2f}",
            _format_ms(of(groups["one"], "step_cpu")),
            _format_ms(
                interleaving.median(
                    sum(worker.extra["step_cpu"] for worker in turn) for turn in groups["two"]
                )
            ),
            f"{_median_efficiency(cpu_efficiency, groups):.2f}",
        )
        for batch, groups in done.items()
    ]
    columns = (
        "global batch",
        "one worker, ms/step",
        "two workers, ms/step",
        "efficiency",
        "one, CPU ms/step",
        "two, CPU ms/step",
        "CPU efficiency",
    )
    return Table(
        "One worker on one core, and two on a core each, on the same global batches",
        columns,
        tuple(rows),
    )


def _format_shares(done: Mapping[int, Mapping[str, Sequence[Turn]]]) -> Table:
    rows = [
        (
            str(batch),
            str(rank),
            *map(_format_ms, (share.wall, share.compute, share.reduce, share.waiting)),
        )
        for batch, groups in done.items()
        for rank, share in enumerate(step_shares(groups["two"], groups["apart"]))
    ]
    columns = ("global batch", "worker", "step, ms", "compute, ms", "all-reduce, ms", "waiting, ms")
    return Table("Where a worker's time of a step goes", columns, tuple(rows))


def _format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


if __name__ == "__main__":
    run_single("scaling", __doc__, run_suite)
