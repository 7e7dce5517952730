"""The target of a batch prediction: a directory, or a prefix in object storage.

It has the output's files and the manifest, which is written last: without it the output is not
complete. Until then, everything else is below `.kubert-score/`, which is removed at the end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from components.artifacts.manifest import MANIFEST_FILENAME, Manifest, serialize_manifest
from components.artifacts.transfer import find_remote_manifest
from components.data.source_files import normalize_name
from components.errors import DataError, KubertError, UsageError
from components.scoring.unit_results import IDENTITY_KEY
from components.storage.atomic_files import file_sha256, make_durable
from components.storage.store import Store, open_store
from components.storage.uri import is_remote_uri
from components.workers.launcher_heartbeat import (
    INTERVAL_SECONDS,
    LauncherHeartbeat,
    heartbeat_key,
    is_of_this_run,
    read_heartbeat,
)

STATE_DIRECTORY = ".kubert-score"
LOCK_FILENAME = "lock"
HEARTBEAT_NAME = "kubert-score"
PREDICTIONS_KIND: Final = "predictions"
REJECTED_FILENAME = "rejected.jsonl"
OUTPUT_SUFFIXES = (".parquet", ".csv", ".jsonl")
_LIVE_INTERVALS = 3
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Target:
    """Where the output goes; `uri` is an absolute path or a URI."""

    uri: str

    @property
    def is_remote(self) -> bool:
        """Whether it is in object storage."""
        return is_remote_uri(self.uri)

    @property
    def state(self) -> str:
        """Directory or URI of the scoring's state."""
        return f"{self.uri}/{STATE_DIRECTORY}"

    @property
    def store(self) -> Store:
        """The store of the target."""
        return open_store(self.uri)

    def read_manifest(self) -> Manifest | None:
        """The manifest of a finished output; None if there is none that is complete.

        DataError if the target is an artifact of another kind.
        """
        manifest = find_remote_manifest(self.uri, PREDICTIONS_KIND)
        if manifest is None or not all(self._is_intact(name, manifest) for name in manifest.files):
            return None
        return manifest

    def _is_intact(self, name: str, manifest: Manifest) -> bool:
        entry = manifest.files[name]
        if self.is_remote:
            return self.store.size(name) == entry.size
        path = Path(self.uri, name)
        return path.is_file() and file_sha256(path) == entry.sha256

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield a local directory to write the output's files to, beside the target if it can."""
        if self.is_remote:
            with tempfile.TemporaryDirectory(prefix="kubert-score-") as temporary:
                yield Path(temporary)
            return
        directory = Path(self.state, "output")
        directory.mkdir(parents=True, exist_ok=True)
        yield directory

    def commit(self, directory: Path, manifest: Manifest) -> None:
        """Put the files of the manifest in place, then the manifest; removes the state."""
        self.store.delete(MANIFEST_FILENAME)
        for name in manifest.files:
            if self.is_remote:
                self.store.upload(directory / name, name)
            else:
                make_durable(directory / name)
                os.replace(directory / name, Path(self.uri, name))
        self.store.write(MANIFEST_FILENAME, serialize_manifest(manifest))
        self.remove_state()

    def remove_state(self) -> None:
        """Remove what was needed to go on after a stop."""
        self.store.clear(STATE_DIRECTORY)


def parse_target(to: str) -> Target:
    """The target that `score.to` names; UsageError for the name of a file."""
    if to.rstrip("/").endswith(OUTPUT_SUFFIXES):
        directory, _, name = to.rstrip("/").rpartition("/")
        suffix = PurePosixPath(name).suffix.removeprefix(".")
        raise UsageError(
            f"score.to {to}: names a file, but the output is a directory; "
            f"write score.to {directory or '.'} and score.format {suffix}"
        )
    if is_remote_uri(to):
        open_store(to)  # refuses what is no URI of a store
        return Target(to.rstrip("/"))
    path = Path(to.removeprefix("file://")).absolute()
    if path.exists() and not path.is_dir():
        raise UsageError(f"score.to {to}: is a file; name a directory")
    return Target(str(path))


def check_not_in_source(target: Target, names: Sequence[str], outputs: Sequence[str]) -> None:
    """UsageError if the output would be one of the source's files the next time."""
    for name in names:
        source = normalize_name(name).rstrip("/")
        files = [f"{target.uri}/{output}" for output in outputs]
        is_pattern = any(PurePosixPath(file).match(source) for file in files)
        if source == target.uri or is_pattern or source in files:
            raise UsageError(
                f"score.to {target.uri}: the output would be read as a part of the source {name} "
                "the next time; name another directory"
            )


@contextmanager
def lock_target(target: Target) -> Iterator[None]:
    """Keep other scorers of the target out while the block runs; KubertError if there is one."""
    busy = KubertError(
        f"{target.uri}: another `kubert score` is writing there; wait for it, or stop it"
    )
    with ExitStack() as stack:
        if target.is_remote:
            store = open_store(target.state)
            if _has_live_heartbeat(store):
                raise busy
            stack.enter_context(LauncherHeartbeat(store, HEARTBEAT_NAME))
        else:
            stream = stack.enter_context(_open_lock_file(Path(target.state)))
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy from None
            stack.callback(_remove_unused_state, target)
        yield


def _remove_unused_state(target: Target) -> None:
    """Leave nothing behind where no scoring was started."""
    state = Path(target.state)
    if state.is_dir() and not (state / IDENTITY_KEY).exists():
        shutil.rmtree(state)
    with suppress(OSError):
        Path(target.uri).rmdir()  # only if it is empty


def _open_lock_file(state: Path) -> BinaryIO:
    try:
        state.mkdir(parents=True, exist_ok=True)
        return (state / LOCK_FILENAME).open("wb")
    except OSError as error:
        raise DataError(
            f"{state.parent}: cannot be written to ({error.strerror}); name another score.to"
        ) from None


def _has_live_heartbeat(store: Store) -> bool:
    """Whether a heartbeat is there that changes within a few intervals.

    That of an attempt of the same run is not waited for: its workers go on only if their launcher
    is back in time.
    """
    key = heartbeat_key(HEARTBEAT_NAME)
    first = read_heartbeat(store, key)
    if is_of_this_run(first):
        return False
    deadline = time.monotonic() + _LIVE_INTERVALS * INTERVAL_SECONDS
    while first and time.monotonic() < deadline:
        if read_heartbeat(store, key) not in (first, b""):
            return True
        time.sleep(_POLL_SECONDS)
    return False
