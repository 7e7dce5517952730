"""The worker process: joins the gang, trains, and ends with a code that says what its launcher should do.

python -m components.train.worker JOB, the path or URI of a `Job` in JSON. The same command in a process of this machine and in a pod.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from components import progress
from components.artifacts import transfer
from components.artifacts.artifact import verify_artifact
from components.config.environment import (
    ENV_FAILURE_FILE,
    ENV_LAUNCHER_PID,
    ENV_OWNER,
    ENV_STOP_GRACE,
    ENV_THREADS,
    ENV_WORK_DIR,
)
from components.errors import DataError, ExitCode, KubertError
from components.progress import StepName
from components.storage.store import open_store
from components.storage.uri import has_scheme
from components.train.checkpointing.object_state_store import ObjectStateStore
from components.train.checkpointing.state_store import SharedDirectoryStore, TrainingStateStore
from components.train.job import Job
from components.workers import exit_codes
from components.workers.process_control import (
    PreemptionHandler,
    StallWatchdog,
    count_usable_cores,
    kill_on_parent_exit,
)
from components.workers.rendezvous import wait_for_dns, wait_for_peers
from components.workers.topology import WorkerTopology, topology_from_environment

DEFAULT_STOP_GRACE_SECONDS = 25.0
PEER_GRACE_SECONDS = 15.0


def main(argument: str) -> None:
    """Run one worker to its end; never returns, because TensorFlow's threads may hang on the way out."""
    if launcher := os.environ.get(ENV_LAUNCHER_PID):
        kill_on_parent_exit(int(launcher))
    stop = PreemptionHandler(float(os.environ.get(ENV_STOP_GRACE, DEFAULT_STOP_GRACE_SECONDS)))
    work = Path(tempfile.mkdtemp(prefix="kubert-worker-", dir=os.environ.get(ENV_WORK_DIR)))
    code, message = _ending(argument, work, stop)
    _leave(work, code, message)


def _ending(argument: str, work: Path, stop: PreemptionHandler) -> tuple[int, str]:
    """Work, and say how it ended: an exit code and its reason."""
    alone = True
    try:
        topology = topology_from_environment(os.environ)
        alone = len(topology.workers) == 1
        return _work(read_job(argument), topology, work, stop)
    except KubertError as error:
        if not alone:
            _let_go(topology)
        return error.exit_code, str(error)
    except BaseException as error:
        _say(traceback.format_exc())
        if _disk_is_full(error):
            return (
                exit_codes.DISK_FULL,
                f"no space left ({error}); the last checkpoint is intact, and a new run goes on from it",
            )
        if _is_peer_loss(error) and not alone:
            # The failing peer should be the one that the launcher sees first; it will tell this one to stop.
            stop.wait(PEER_GRACE_SECONDS)
            return exit_codes.PEER_LOST, f"a peer was lost: {str(error).splitlines()[0][:300]}"
        return ExitCode.FAILURE, f"{type(error).__name__}: {str(error)[:600]}"


def read_job(place: str) -> Job:
    """The job in a local file or below a URI; DataError if it is not one."""
    try:
        if not has_scheme(place):
            return Job.model_validate_json(Path(place).read_bytes())
        folder, _, name = place.rpartition("/")
        return Job.model_validate_json(open_store(folder).read_bytes(name))
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: not a job ({error})") from None


def _work(
    job: Job, topology: WorkerTopology, work: Path, stop: PreemptionHandler
) -> tuple[int, str]:
    place = _place_of(job, work)
    if topology.is_chief:
        place.hold()
    try:
        return _train(job, place, topology, work, stop)
    finally:
        if topology.is_chief:
            place.release()


def _place_of(job: Job, work: Path) -> TrainingStateStore:
    if has_scheme(job.state):
        return ObjectStateStore(
            job.state, work, os.environ.get(ENV_OWNER, ""), job.train.keep_checkpoints
        )
    return SharedDirectoryStore(Path(job.state))


def _shards_of(job: Job, topology: WorkerTopology, work: Path) -> Path:
    """The directory of the verified shards."""
    if not has_scheme(job.shards):
        if topology.is_chief:
            verify_artifact(Path(job.shards), "token_shards")
        return Path(job.shards)
    if topology.is_chief:
        progress.report(StepName.TRAIN, f"fetching the shards from {job.shards}")
    transfer.download_artifact(job.shards, work / "shards", "token_shards")
    return work / "shards"


def _train(
    job: Job,
    place: TrainingStateStore,
    topology: WorkerTopology,
    work: Path,
    stop: PreemptionHandler,
) -> tuple[int, str]:
    alone = len(topology.workers) == 1
    shards = _shards_of(job, topology, work)
    os.environ.pop("TF_CONFIG", None)
    if not alone:
        wait_for_dns(topology, job.train.rendezvous_timeout)
        os.environ["TF_CONFIG"] = topology.to_tf_config()
    import tensorflow as tf

    from components.artifacts.token_shards import open_shards
    from components.model.encoders import find_hidden_size
    from components.train.hardware import choose_thread_counts
    from components.train.loop.epochs import PreemptionError
    from components.train.loop.trainer import Training

    threads = choose_thread_counts(
        int(os.environ.get(ENV_THREADS, count_usable_cores())), find_hidden_size(job.model)
    )
    tf.config.threading.set_intra_op_parallelism_threads(threads.intra_op)
    tf.config.threading.set_inter_op_parallelism_threads(threads.inter_op)
    if not alone:
        wait_for_peers(topology, job.train.rendezvous_timeout)
    # While TensorFlow waits here for a peer that was lost since, it lets no Python thread run: only the kernel can end this process.
    signal.alarm(job.train.rendezvous_timeout)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    signal.alarm(0)
    watchdog = StallWatchdog(
        job.train.stall_timeout,
        first_timeout=job.train.rendezvous_timeout,
        option="train.stall_timeout",
    )
    training = Training(
        job,
        place,
        open_shards(shards, verify=False),
        topology,
        strategy,
        stop.is_stop_requested,
        watchdog.heartbeat,
    )
    ending = exit_codes.SUCCESS, ""
    try:
        training.run()
    except PreemptionError as notice:
        ending = exit_codes.PREEMPTED, str(notice)
    training.barrier()  # nobody leaves before the chief's last upload has ended
    if not alone:
        _let_go(topology)
    return ending


def _let_go(topology: WorkerTopology) -> None:
    """Let the peers end the collective that this worker has already left; the chief, whose service coordinates them, goes last."""
    time.sleep(1.0 if topology.is_chief else 0.5)


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


def _leave(work: Path, code: int, message: str) -> None:
    try:
        _say(message)
        if code not in (exit_codes.SUCCESS, exit_codes.PREEMPTED) and (
            path := os.environ.get(ENV_FAILURE_FILE)
        ):
            # Not by rename: in a pod this is one file that the kubelet put there.
            Path(path).write_text(message + "\n", encoding="utf-8")
        shutil.rmtree(work, ignore_errors=True)
    finally:
        os._exit(code)  # also where the disk is full and nothing can be said


if __name__ == "__main__":
    main(sys.argv[1])
