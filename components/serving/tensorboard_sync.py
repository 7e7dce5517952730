"""Copies TensorBoard's event files of all trainings from object storage to a directory.

TensorBoard reads that directory, because TensorFlow's own gs:// and s3:// know neither custom
endpoints nor kubert's credentials. Event files only grow and a reader keeps them open, so new bytes
are appended to the file that is there. Imports no TensorFlow.

    python -m components.serving.tensorboard_sync STATE --to DIR --watch SECONDS
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from components.errors import UsageError
from components.serving.polling import poll_forever
from components.serving.sync_command import run_sync_command
from components.storage.store import Store, open_store

EVENT_FILE_PATTERN = re.compile(r"(?:(?P<run>.+)/)?tensorboard/(?P<file>events\.[^/]+)")
DEFAULT_RUN_NAME = "training"
"""Name of the run in TensorBoard where the URI is the state of one training."""

logger = logging.getLogger(__name__)


def sync_event_files(store: Store, directory: Path) -> int:
    """Copy the event files below the store to `directory/<run>/`; returns the number of new bytes.

    Files that are gone from the store are removed.
    """
    keys = {
        directory / (match["run"] or DEFAULT_RUN_NAME) / match["file"]: key
        for key in store.list()
        if (match := EVENT_FILE_PATTERN.fullmatch(key))
    }
    new_bytes = sum(_append_new_bytes(store, key, path) for path, key in keys.items())
    for path in directory.rglob("events.*"):
        if path not in keys:
            path.unlink()
    return new_bytes


def sync_forever(uri: str, directory: Path, interval_seconds: float) -> NoReturn:
    """Sync at an interval until the process ends.

    A store that fails is asked again; a wrong URI or access refused from the start is raised.
    """
    store = open_store(uri)

    def log_failure(error: Exception, failures: int) -> float:
        if failures == 1:
            logger.warning("%s; looking again every %g s", error, interval_seconds)
        return interval_seconds

    poll_forever(lambda: sync_event_files(store, directory), interval_seconds, log_failure)


def _append_new_bytes(store: Store, key: str, path: Path) -> int:
    remote_size = store.size(key) or 0
    local_size = path.stat().st_size if path.exists() else 0
    if remote_size <= local_size:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kubert-") as temporary:
        downloaded = Path(temporary) / "events"
        store.download(key, downloaded)
        with open(downloaded, "rb") as source, open(path, "ab") as target:
            source.seek(local_size)
            return target.write(source.read())


def main() -> int:
    """Sync once or repeatedly; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m components.serving.tensorboard_sync",
        description="Copy TensorBoard's event files from object storage to DIR.",
    )
    parser.add_argument(
        "uri",
        metavar="STATE",
        help="gs://, s3:// or minio:// URI of the trainings' state (cluster.checkpoint_uri)",
    )
    return run_sync_command(parser, _run_command)


def _run_command(arguments: argparse.Namespace) -> None:
    if arguments.watch is None:
        print(f"{sync_event_files(open_store(arguments.uri), arguments.to)} new bytes")
        return
    if arguments.watch <= 0:
        raise UsageError(f"--watch {arguments.watch:g}: the seconds must be more than 0")
    sync_forever(arguments.uri, arguments.to, arguments.watch)


if __name__ == "__main__":
    sys.exit(main())
