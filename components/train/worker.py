"""The worker process: joins the gang, trains, and ends with a code that says what its launcher should do.

python -m components.train.worker JOB.json
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.artifacts import manifest
from components.errors import KubertError
from components.train import exits
from components.train.cluster import Membership, find_membership, meet, usable_cores, wait_for_names
from components.train.job import Job
from components.train.signals import StopRequest, Watchdog, die_with_parent

STOP_GRACE = 25.0
PEER_GRACE = 15.0
LOCK_PATIENCE = 30.0


def main(argument: str) -> None:
    """Run one worker to its end; never returns, because TensorFlow's threads may hang on the way out."""
    if launcher := os.environ.get("KUBERT_LAUNCHER"):
        die_with_parent(int(launcher))
    stop = StopRequest(STOP_GRACE)
    job = Job.model_validate_json(Path(argument).read_bytes())
    membership = find_membership(os.environ)
    try:
        _work(job, membership, stop)
    except KubertError as error:
        _let_go(membership)
        _leave(job, membership, error.exit_code, str(error))
    except BaseException as error:
        _say(traceback.format_exc())
        if _disk_is_full(error):
            _leave(
                job,
                membership,
                exits.DISK_FULL,
                f"{job.scratch}: no space left; the last checkpoint is intact, and a new run goes on from it",
            )
        if _is_peer_loss(error) and len(membership.workers) > 1:
            # The failing peer should be the one that the launcher sees first; it will tell this one to stop.
            stop.wait(PEER_GRACE)
            _leave(job, membership, exits.PEER_LOST, f"a peer was lost: {str(error).splitlines()[0][:300]}")
        _leave(job, membership, 1, f"{type(error).__name__}: {str(error)[:600]}")
    _leave(job, membership, exits.DONE, "")


def _work(job: Job, membership: Membership, stop: StopRequest) -> None:
    lock = _hold(job.scratch) if membership.is_chief else None
    alone = len(membership.workers) == 1
    os.environ.pop("TF_CONFIG", None)
    if not alone:
        wait_for_names(membership, job.train.start_deadline)
        os.environ["TF_CONFIG"] = membership.tf_config()
    import tensorflow as tf

    from components.train.loop import Preempted
    from components.train.training import Training

    threads = int(os.environ.get("KUBERT_THREADS", usable_cores()))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if not alone:
        meet(membership, job.train.start_deadline)
    # While TensorFlow waits here for a peer that was lost since, it lets no Python thread run: only the kernel can end this process.
    signal.alarm(job.train.start_deadline)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    signal.alarm(0)
    watchdog = Watchdog(job.train.stall_deadline, first=job.train.start_deadline)
    training = Training(job, membership, strategy, stop, watchdog.beat)
    try:
        training.run()
    except Preempted as notice:
        _let_go(membership)
        _leave(job, membership, exits.PREEMPTED, str(notice))
    training.barrier()
    _let_go(membership)
    if lock is not None:
        os.close(lock)


def _let_go(membership: Membership) -> None:
    """Let the peers end the collective that this worker has already left; the chief, whose service coordinates them, goes last."""
    if len(membership.workers) > 1:
        time.sleep(1.0 if membership.is_chief else 0.5)


def _hold(scratch: Path) -> int:
    """Be the only chief that writes into this directory, for as long as this process lives."""
    scratch.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(scratch / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise KubertError(f"{scratch}: another run is training here; wait for it, or stop it") from None
            time.sleep(0.5)


def _is_peer_loss(error: BaseException) -> bool:
    import tensorflow as tf

    lost: tuple[Any, ...] = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.InternalError,
        tf.errors.DeadlineExceededError,
    )
    return isinstance(error, lost)


def _disk_is_full(error: BaseException) -> bool:
    # TensorFlow's writers report it under several types, so the operating system's words decide.
    return os.strerror(errno.ENOSPC) in str(error)


def _say(message: str) -> None:
    # Standard output may be a file on a full disk; that must not keep this process from ending.
    if message:
        with suppress(OSError):
            print(message, flush=True)


def _leave(job: Job, membership: Membership, code: int, message: str) -> None:
    try:
        _say(message)
        if code not in (exits.DONE, exits.PREEMPTED):
            job.failures.mkdir(parents=True, exist_ok=True)
            manifest.write_atomically(job.failures / f"worker-{membership.rank}.txt", message + "\n")
    finally:
        os._exit(code)  # also where the disk is full and nothing can be said


if __name__ == "__main__":
    main(sys.argv[1])
