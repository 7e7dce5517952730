"""A worker without TensorFlow: writes a file for each part of its own, and ends as the job says.

python -m tests.support.independent_workers.part_worker JOB, where JOB names `directory`, `parts`,
`seconds` per part, and by rank in `endings` how its processes end after their first part, one
after the other: an exit code, or a signal as a negative number.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from components import progress
from components.config.environment import ENV_FAILURE_FILE, ENV_LAUNCHER_PID
from components.progress import StepName
from components.workers import exit_codes
from components.workers.process_control import PreemptionHandler, kill_on_parent_exit
from components.workers.topology import topology_from_environment


def work(document: Path) -> int:
    kill_on_parent_exit(int(os.environ[ENV_LAUNCHER_PID]))
    stop = PreemptionHandler(20)
    stop.allow_saving()
    job, topology = json.loads(document.read_text()), topology_from_environment(os.environ)
    directory, rank, workers = Path(job["directory"]), topology.rank, len(topology.workers)
    with open(directory / f"starts-{rank}", "a") as starts:
        starts.write(f"{os.getpid()}\n")
    own = [directory / f"part-{part}" for part in range(job["parts"]) if part % workers == rank]
    endings = job["endings"].get(str(rank), [])
    for part in own:
        if part.exists():
            continue
        if stop.wait(job["seconds"]):
            return exit_codes.PREEMPTED
        part.write_text(str(os.getpid()))
        done = sum(each.exists() for each in own)
        progress.report(
            StepName.SCORE, "scoring", done=done, total=len(own), rows_per_second=10.0, rank=rank
        )
        if endings:
            attempt = len((directory / f"starts-{rank}").read_text().splitlines())
            if attempt <= len(endings):
                end_process(endings[attempt - 1])
    return exit_codes.SUCCESS


def end_process(ending: int) -> None:
    if ending < 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-ending})
        os.kill(os.getpid(), -ending)
        time.sleep(60)
    Path(os.environ[ENV_FAILURE_FILE]).write_text(f"row 7 is wrong (code {ending})\n")
    print(f"ending with {ending}", flush=True)
    os._exit(ending)


if __name__ == "__main__":
    os._exit(work(Path(sys.argv[1])))
