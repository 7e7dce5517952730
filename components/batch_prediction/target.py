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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from components.artifacts.manifest import MANIFEST_FILENAME, Manifest, serialize_manifest
from components.artifacts.transfer import find_remote_manifest
from components.data.source_files import normalize_name
from components.errors import DataError, KubertError, UsageError
from components.registry.listing import VERSION_PATTERN
from components.registry.reference import is_model_directory
from components.scoring.unit_results import IDENTITY_KEY
from components.storage.atomic_files import FileEntry, file_sha256, make_durable
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
OUTPUT_FILENAMES = (*(f"predictions{suffix}" for suffix in OUTPUT_SUFFIXES), REJECTED_FILENAME)
COMMIT_DIRECTORY = "commit"
"""In the state: the manifest of the files that are being put in place."""
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
        """The manifest of a finished output, changed since or not; None if its rows are not there.

        DataError if the target is an artifact of another kind.
        """
        manifest = find_remote_manifest(self.uri, PREDICTIONS_KIND)
        if manifest is None or not self.has_files(set(manifest.files) - {REJECTED_FILENAME}):
            return None
        return manifest

    def has_files(self, names: Iterable[str]) -> bool:
        """Whether all of these files are there."""
        if self.is_remote:
            return all(map(self.store.exists, names))
        return all(os.path.lexists(Path(self.uri, name)) for name in names)

    def check_files(self) -> None:
        """DataError for a file in the place of an output that is not as an output was written."""
        written = self._read_manifests()
        for name in filter(lambda name: self.has_files([name]), OUTPUT_FILENAMES):
            entries = [manifest.files[name] for manifest in written if name in manifest.files]
            if any(self._is_intact(name, entry) for entry in entries):
                continue
            reason = "was changed since" if entries else "no manifest says that it is an output"
            raise DataError(f"{self.uri}/{name}: {reason}; remove it, or name another directory")

    def _read_manifests(self) -> list[Manifest]:
        """The manifest, and that of files which a stopped attempt was putting in place."""
        uris = (self.uri, f"{self.state}/{COMMIT_DIRECTORY}")
        found = [find_remote_manifest(uri, PREDICTIONS_KIND) for uri in uris]
        return [manifest for manifest in found if manifest is not None]

    def _is_intact(self, name: str, entry: FileEntry) -> bool:
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
        """Put the files of the manifest in place, then the manifest; removes the state.

        Files of an output before it do not stay. At any time, each file that is there is in the
        manifest or in that of the state.
        """
        data = serialize_manifest(manifest)
        for name in {name for written in self._read_manifests() for name in written.files}:
            self.store.delete(name)
        self.store.write(f"{STATE_DIRECTORY}/{COMMIT_DIRECTORY}/{MANIFEST_FILENAME}", data)
        self.store.delete(MANIFEST_FILENAME)
        for name in manifest.files:
            if self.is_remote:
                self.store.upload(directory / name, name)
            else:
                make_durable(directory / name)
                os.replace(directory / name, Path(self.uri, name))
        self.store.write(MANIFEST_FILENAME, data)
        self.remove_state()

    def remove_state(self) -> None:
        """Remove what was needed to go on after a stop."""
        self.store.clear(STATE_DIRECTORY)


def parse_target(to: str) -> Target:
    """The target that `score.to` names; UsageError for the name of a file, and without a name."""
    if not to.strip():
        raise UsageError(f"score.to {to!r}: is empty; name a directory, or a gs:// or s3:// URI")
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
    """UsageError if the output would be one of the source's files the next time.

    Symbolic links in either path are followed.
    """
    targets = _list_names(target.uri)
    files = {f"{each}/{output}" for each in targets for output in outputs}
    files |= {each for file in files for each in _list_names(file)}
    for name in names:
        sources = _list_names(normalize_name(name).rstrip("/"))
        is_match = any(PurePosixPath(file).match(each) for file in files for each in sources)
        if is_match or sources & (targets | files):
            raise UsageError(
                f"score.to {target.uri}: the output would be read as a part of the source {name} "
                "the next time; name another directory"
            )


def _list_names(path: str) -> set[str]:
    """A path or URI as it is written, and a path without symbolic links."""
    return {path, os.path.realpath(path)} if path.startswith("/") else {path}


def check_not_of_a_model(target: Target) -> None:
    """UsageError for a model's directory: its reader would take the manifest for a release's."""
    directory, _, name = target.uri.rpartition("/")
    if is_model_directory(target.uri) or (
        VERSION_PATTERN.match(name) and is_model_directory(directory or "/")
    ):
        raise UsageError(
            f"score.to {target.uri}: is a model's directory, or one of its versions; an output "
            "there would be read as a release; name another directory"
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
