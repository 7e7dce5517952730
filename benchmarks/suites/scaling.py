"""Two workers against one: the same global batches, every worker on a core of its own.

    python -m benchmarks.suites.scaling --data DIR --workdir DIR

Three gangs take turns, all of real workers: one worker; two workers; and two workers that each compute the share of a batch that
they have among two but add nothing up with anyone. The last tells what a worker's computing costs without its peer.
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
from benchmarks.harness.contender import Side
from benchmarks.harness.interleaving import Round
from benchmarks.harness.report import Chapter, Table
from benchmarks.harness.single import run_alone
from benchmarks.models import small_bert
from components.config.schema import Config
from components.workers.rendezvous import Membership, free_port

CONFIG = "ag_news_minilm"
ROWS = 2400
BATCHES = (32, 128)
TURNS = 4
Turn = Sequence[Round]


class Gang:
    """Workers that do their rounds together."""

    def __init__(self, workers: Sequence[Side]) -> None:
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

    def round(self) -> Turn:
        """One round of every worker, all at the same time."""
        for worker in self._workers:
            worker.start()
        return [worker.result() for worker in self._workers]


@dataclass(frozen=True)
class Share:
    """Where a worker's time of a step goes, in seconds."""

    wall: float
    compute: float
    reduce: float
    waiting: float


def efficiency(one: Turn, two: Turn) -> float:
    """How much of twice the speed two workers reach, by the wall clock: time per step of one, by twice that of two."""
    return one[0].more["step_wall"] / (2 * max(worker.more["step_wall"] for worker in two))


def cpu_efficiency(one: Turn, two: Turn) -> float:
    """CPU seconds per step of one worker, by those of two together."""
    return one[0].more["step_cpu"] / sum(worker.more["step_cpu"] for worker in two)


def shares(two: Sequence[Turn], apart: Sequence[Turn]) -> list[Share]:
    """Per worker, medians over the turns."""
    found = []
    for rank in range(len(two[0])):
        wall, cpu = (
            interleaving.median(turn[rank].more[key] for turn in two)
            for key in ("step_wall", "step_cpu")
        )
        compute = interleaving.median(turn[rank].more["step_cpu"] for turn in apart)
        found.append(Share(wall, compute, reduce=cpu - compute, waiting=wall - cpu))
    return found


def chapter(data: Path, workdir: Path) -> Chapter:
    """The chapter; the key is that of batches of 32."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise RuntimeError("two workers need a core each, and this process may use one only")
    shutil.rmtree(workdir, ignore_errors=True)
    chosen = training_inputs.prepare(
        training_inputs.shipped(
            CONFIG,
            data,
            f"model.encoder=hf:{small_bert.write(workdir / 'weights')}",
            "train.precision=float32",
        ),
        workdir,
        ROWS,
    )
    done = {batch: _measure(chosen, workdir, batch, cores) for batch in BATCHES}
    return Chapter(
        title="Two workers",
        figures={"scaling_two_workers": _median(efficiency, done[32])},
        tables=(_steps(done), _parts(done)),
        notes=(
            "A BERT of 4 layers, 128 wide, in float32, batches grouped by length as shipped. Every worker is pinned to a core of its own and has one thread; the gangs take turns. "
            "Times per step are medians over an epoch's steps, and those over the turns.",
            "Efficiency by the clock: time per step of one worker, by twice the time of two. By CPU: CPU seconds per step of one, by the sum of two. "
            "Where other work shares the machine, only the second one says something.",
            "Compute: CPU seconds that a worker needs for its share of the same batches when it adds nothing up with anyone, while another one does the same on the other core. "
            "All-reduce: the CPU seconds that it needs more in the gang. Waiting: seconds of a step in which it did not compute at all, because "
            "its peer or the loopback had not delivered (or other work had its core). The three add up to the step.",
        ),
    )


def _measure(
    chosen: Config, workdir: Path, batch: int, cores: Sequence[int]
) -> dict[str, list[Turn]]:
    """The turns of each gang."""
    ports = [f"127.0.0.1:{free_port()}" for _ in cores]
    home = workdir / f"batch-{batch}"

    def worker(
        gang: str, core: int, *options: object, environment: Mapping[str, str] | None = None
    ) -> Side:
        workers = 2 if gang == "two" else 1
        where = home / (gang if gang == "two" else f"{gang}-{core}")
        job = training_inputs.write_job(
            chosen, workdir / "shards", where, batch_size=batch, workers=workers
        )
        log = home / "logs" / f"{gang}-{core}.log"
        return Side(
            "benchmarks.baselines.training_ours",
            [job, *options],
            log,
            [core],
            {"KUBERT_THREADS": "1", **(environment or {})},
        )

    def member(rank: int) -> dict[str, str]:
        return {"TF_CONFIG": Membership(workers=tuple(ports), rank=rank).tf_config()}

    gangs = {
        "one": Gang([worker("one", cores[0])]),
        "two": Gang(
            [worker("two", core, environment=member(rank)) for rank, core in enumerate(cores)]
        ),
        "apart": Gang(
            [worker("apart", core, "--share", rank, 2) for rank, core in enumerate(cores)]
        ),
    }
    done: dict[str, list[Turn]] = {name: [] for name in gangs}
    with ExitStack() as stack:
        for gang in gangs.values():
            stack.enter_context(gang)
        for gang in gangs.values():
            gang.wait_until_ready()
        for _ in range(TURNS):
            for name, gang in gangs.items():
                done[name].append(gang.round())
    return done


def _median(measure: Callable[[Turn, Turn], float], done: Mapping[str, Sequence[Turn]]) -> float:
    return interleaving.median(
        measure(one, two) for one, two in zip(done["one"], done["two"], strict=True)
    )


def _steps(done: Mapping[int, Mapping[str, Sequence[Turn]]]) -> Table:
    def of(gang: Sequence[Turn], key: str) -> float:
        return interleaving.median(max(worker.more[key] for worker in turn) for turn in gang)

    rows = [
        (
            str(batch),
            _ms(of(gangs["one"], "step_wall")),
            _ms(of(gangs["two"], "step_wall")),
            f"{_median(efficiency, gangs):.2f}",
            _ms(of(gangs["one"], "step_cpu")),
            _ms(
                interleaving.median(
                    sum(worker.more["step_cpu"] for worker in turn) for turn in gangs["two"]
                )
            ),
            f"{_median(cpu_efficiency, gangs):.2f}",
        )
        for batch, gangs in done.items()
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


def _parts(done: Mapping[int, Mapping[str, Sequence[Turn]]]) -> Table:
    rows = [
        (str(batch), str(rank), *map(_ms, (share.wall, share.compute, share.reduce, share.waiting)))
        for batch, gangs in done.items()
        for rank, share in enumerate(shares(gangs["two"], gangs["apart"]))
    ]
    columns = ("global batch", "worker", "step, ms", "compute, ms", "all-reduce, ms", "waiting, ms")
    return Table("Where a worker's time of a step goes", columns, tuple(rows))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


if __name__ == "__main__":
    run_alone("scaling", __doc__, chapter)
