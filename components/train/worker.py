"""The worker process: joins its group, trains, and exits with a code for the launcher.

python -m components.train.worker JOB, the path or URI of a `Job` in JSON. The command is the same
in a local process and in a pod.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components import progress
from components.artifacts import transfer
from components.artifacts.artifact import verify_artifact
from components.config.environment import (
    ENV_OWNER,
    ENV_THREADS,
)
from components.errors import ExitCode, KubertError
from components.gpu.kernel_compilation import choose_step_limits
from components.gpu.tensorflow_gpus import check_worker_gpus, describe_kernel_compilation
from components.model.encoders import resolve_pooling
from components.progress import StepName
from components.registry.starting_point import open_release_checkpoint
from components.storage.uri import has_scheme
from components.train.checkpointing.directory_state_store import open_directory_store
from components.train.checkpointing.object_state_store import open_object_store
from components.train.checkpointing.state_store import TrainingStateStore
from components.train.hardware import choose_thread_counts
from components.train.job import Job
from components.workers import exit_codes
from components.workers.process_control import (
    PreemptionHandler,
    StallWatchdog,
    cancel_exit,
    count_usable_cores,
    schedule_exit,
)
from components.workers.rendezvous import wait_for_dns, wait_for_peers
from components.workers.topology import WorkerTopology, topology_from_environment
from components.workers.worker_runtime import (
    WorkerProcess,
    describe_crash,
    is_disk_full,
    is_peer_loss,
    read_job_document,
    start_worker_process,
)

if TYPE_CHECKING:
    from components.train.loop.batch_plan import SliceRows
    from components.train.loop.callback import TrainingCallback

PEER_GRACE_SECONDS = 15.0
MAX_PEER_REASON_CHARACTERS = 300
_logger = logging.getLogger("components.train.worker")


def main(job_uri: str) -> None:
    """Run one worker and exit at once: TensorFlow's threads may block a normal exit."""
    process = start_worker_process()
    code, message = _run_and_classify(job_uri, process)
    process.exit(code, message)


def _run_and_classify(job_uri: str, process: WorkerProcess) -> tuple[int, str]:
    """Run the job; the exit code, and the reason for it."""
    work, stop = process.work, process.stop
    has_peers = False
    try:
        topology = topology_from_environment(os.environ)
        has_peers = len(topology.workers) > 1
        job = read_job(job_uri)
        _check_gpus(job, topology)  # before anything that takes time: the node may be paid for
        store = _open_state_store(job, work)
        if not topology.is_chief:
            return run_worker(job, store, topology, work, stop)
        store.lock.acquire()
        try:
            return run_worker(job, store, topology, work, stop)
        finally:
            store.lock.release()
    except KubertError as error:
        if has_peers:
            _wait_for_collectives(topology)
        return error.exit_code, str(error)
    except BaseException as error:
        _logger.exception("the worker failed")
        if is_disk_full(error):
            return (
                exit_codes.DISK_FULL,
                f"no space left ({error}); the last checkpoint is intact, "
                "and a new run goes on from it",
            )
        if has_peers and is_peer_loss(error):
            # The launcher should see the failed peer first; it will stop this worker as well.
            stop.wait(PEER_GRACE_SECONDS)
            reason = str(error).splitlines()[0][:MAX_PEER_REASON_CHARACTERS]
            return exit_codes.PEER_LOST, f"a peer was lost: {reason}"
        return ExitCode.FAILURE, describe_crash(error)


def read_job(uri: str) -> Job:
    """Read the job from a local file or a URI; DataError if it is not one."""
    return read_job_document(uri, Job.model_validate_json)


def run_worker(
    job: Job,
    store: TrainingStateStore,
    topology: WorkerTopology,
    work: Path,
    stop: PreemptionHandler,
    *,
    callbacks: Sequence[TrainingCallback] = (),
    slice_rows: SliceRows | None = None,
) -> tuple[int, str]:
    """Meet the peers and train; the exit code (success or why it stopped), and the reason for it.

    `work` is a directory of this worker's own. `slice_rows` replaces `replica_slice`, to measure a
    worker's part of a group without its peers.
    """
    has_peers = len(topology.workers) > 1
    job = job.model_copy(update={"model": resolve_pooling(job.model)})
    shards = _prepare_shards(job, topology, work)
    start = open_release_checkpoint(job.start, work / "start") if job.start else None
    os.environ.pop("TF_CONFIG", None)
    if has_peers:
        wait_for_dns(topology, job.train.rendezvous_timeout)
        os.environ["TF_CONFIG"] = topology.to_tf_config()
    import tensorflow as tf

    from components.artifacts.token_shards import open_shards
    from components.model.encoders import find_hidden_size
    from components.train.loop.batch_plan import replica_slice
    from components.train.loop.build_trainer import build_trainer
    from components.train.loop.collectives import WorkerCollectives, create_strategy
    from components.train.loop.trainer import PreemptionError, StopRequest, WorkerControl

    cores = int(os.environ.get(ENV_THREADS, count_usable_cores()))
    threads = choose_thread_counts(cores, find_hidden_size(job.model))
    tf.config.threading.set_intra_op_parallelism_threads(threads.intra_op)
    tf.config.threading.set_inter_op_parallelism_threads(threads.inter_op)
    if has_peers:
        wait_for_peers(topology, job.train.rendezvous_timeout)
    compilation = describe_kernel_compilation()
    if compilation and topology.is_chief:
        progress.report(StepName.TRAIN, compilation)
    limits = choose_step_limits(
        job.train.rendezvous_timeout, job.train.stall_timeout, compiles_kernels=bool(compilation)
    )
    # While TensorFlow waits here for a peer that was lost meanwhile, no Python thread runs: only a
    # signal can end this process.
    schedule_exit(limits.first)
    strategy = create_strategy()
    cancel_exit()
    stop.allow_saving()
    watchdog = StallWatchdog(
        limits.later,
        first_timeout=limits.first,
        option="train.stall_timeout",
    )

    def find_stop_request() -> StopRequest:
        if stop.is_launcher_lost():
            return StopRequest.LAUNCHER_LOST
        return StopRequest.PREEMPTED if stop.is_stop_requested() else StopRequest.NONE

    collectives = WorkerCollectives(strategy, topology)
    trainer = build_trainer(
        job,
        open_shards(shards, verify=False),
        store,
        strategy,
        collectives,
        WorkerControl(find_stop_request, watchdog.heartbeat),
        callbacks=callbacks,
        slice_rows=slice_rows or replica_slice,
        start=start,
    )
    code, reason = exit_codes.SUCCESS, ""
    try:
        trainer.run()
    except PreemptionError as error:
        is_lost = error.request is StopRequest.LAUNCHER_LOST
        code = exit_codes.LAUNCHER_LOST if is_lost else exit_codes.PREEMPTED
        reason = f"{error}: the launcher is gone" if is_lost else str(error)
    collectives.barrier()  # no worker exits before the chief's last upload has finished
    if has_peers:
        _wait_for_collectives(topology)
    return code, reason


def _check_gpus(job: Job, topology: WorkerTopology) -> None:
    """HardwareError, or a note where GPUs are optional, if this worker sees too few of them."""
    if note := check_worker_gpus(job.state, topology.rank):
        _logger.warning("%s", note)
        if topology.is_chief:
            progress.report_note(StepName.TRAIN, note)


def _open_state_store(job: Job, work: Path) -> TrainingStateStore:
    if not has_scheme(job.state):
        return open_directory_store(Path(job.state))
    owner = os.environ.get(ENV_OWNER, "")
    return open_object_store(job.state, work, owner, job.train.keep_checkpoints)


def _prepare_shards(job: Job, topology: WorkerTopology, work: Path) -> Path:
    """The local directory of the verified shards, downloaded where needed."""
    if not has_scheme(job.shards):
        if topology.is_chief:
            verify_artifact(Path(job.shards), "token_shards")
        return Path(job.shards)
    if topology.is_chief:
        progress.report(StepName.TRAIN, f"fetching the shards from {job.shards}")
    transfer.download_artifact(job.shards, work / "shards", "token_shards")
    return work / "shards"


def _wait_for_collectives(topology: WorkerTopology) -> None:
    """Let the peers finish the collective that this worker has left already.

    The chief exits last: its service coordinates the others.
    """
    time.sleep(1.0 if topology.is_chief else 0.5)


if __name__ == "__main__":
    main(sys.argv[1])
