"""A contender of a comparison: a process that warms up and then does one round per request.

The process reads one line from standard input per round and writes one line back, a `Measurement`
in JSON. Its other output goes to a log. It ends with its input, so it never outlives the suite.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.harness.interleaving import Measurement

ROOT = Path(__file__).parents[2]
_READY = "ready"


class Contender:
    """The suite's side: `python -m <module> <arguments>` on the given cores, output in `log`."""

    def __init__(
        self,
        module: str,
        arguments: Iterable[object],
        log: Path,
        cores: Iterable[int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        pinned = set(cores) if cores is not None else os.sched_getaffinity(0)
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
                preexec_fn=lambda: os.sched_setaffinity(
                    0, pinned
                ),  # it must be there before any thread starts
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    def wait_until_ready(self) -> None:
        """Return when the contender has warmed up."""
        self._read(_READY)

    def start(self) -> None:
        """Start a round."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def read_measurement(self) -> Measurement:
        """Wait for the end of the round."""
        return Measurement(**json.loads(self._read("{")))

    def measure(self) -> Measurement:
        """Do one round."""
        self.start()
        return self.read_measurement()

    def _read(self, beginning: str) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line.startswith(beginning):
            code = self._process.wait()
            raise RuntimeError(
                f"a contender ended with code {code}; "
                f"the end of {self.log}:\n{_read_log_tail(self.log)}"
            )
        return line


@contextmanager
def start_contenders(**contenders: Contender) -> Iterator[dict[str, Contender]]:
    """Start the contenders and wait until all have warmed up; they end with the block."""
    with ExitStack() as stack:
        for contender in contenders.values():
            stack.enter_context(contender)
        for contender in contenders.values():
            contender.wait_until_ready()
        yield contenders


class MeasurementLoop:
    """The contender's side: wait for a request, report the round; the first rounds are warm-up."""

    def __init__(self, warm_up: int = 1) -> None:
        # Libraries print to descriptor 1; the lines of the protocol go where it pointed to before.
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._warm_up = warm_up
        self._cpu = self._wall = 0.0
        self._ready = False

    def wait_for_start(self) -> None:
        """Return when a round is requested, and start the clocks."""
        if self._warm_up <= 0:
            if not self._ready:
                self._ready = True
                self._write_line(_READY)
            if not sys.stdin.readline():
                os._exit(0)
        self._cpu, self._wall = cpu_seconds(), time.perf_counter()

    def report_measurement(self, examples: int, **more: float) -> None:
        """Report the round that `wait_for_start` started."""
        wall, cpu = time.perf_counter() - self._wall, cpu_seconds() - self._cpu
        if self._warm_up > 0:
            self._warm_up -= 1
        else:
            self._write_line(json.dumps(dataclasses.asdict(Measurement(examples, cpu, wall, more))))

    def _write_line(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def _read_log_tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
