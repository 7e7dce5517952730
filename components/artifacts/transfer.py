"""Uploads an artifact to a store and downloads it, complete and verified or not at all.

Upload: the manifest goes last, so that no reader sees a part; the next upload completes what a
killed one left. Download: the manifest's file names are validated before anything is fetched, every
file is checked against the manifest, and the directory appears by one rename.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import ValidationError

from components.artifacts.artifact import validate_file_names, verify_artifact, verify_files
from components.artifacts.manifest import (
    MANIFEST_FILENAME,
    READABLE_FORMATS,
    READABLE_FORMATS_TEXT,
    ArtifactKind,
    Manifest,
    read_manifest,
    serialize_manifest,
)
from components.errors import DataError, KubertError
from components.storage.atomic_files import (
    FileEntry,
    new_staging_directory,
    replace_directory,
)
from components.storage.store import MissingError, Store, open_store

MAX_PARALLEL_TRANSFERS = 4
"""Files in transfer at once; of each, a part of 16 or 32 MiB is in memory."""
MAX_MANIFEST_BYTES = 16 * 2**20


def download_artifact(uri: str, directory: Path, kind: ArtifactKind) -> Manifest:
    """Download the artifact at a path, gs://, s3:// or minio:// URI to `directory`.

    A directory that holds this artifact is left as it is; another artifact of the kind, or a
    damaged one, is replaced; anything else there is refused. The parent must be writable, because
    the files are staged in it. Raises DataError if there is no such artifact, it is of another kind
    or does not verify.
    """
    store = open_store(uri)
    manifest = read_remote_manifest(store, "", kind)
    download_files(store, "", manifest, directory)
    return manifest


def upload_artifact(directory: Path, uri: str) -> Manifest:
    """Upload the artifact in `directory` to a path, gs://, s3:// or minio:// URI, manifest last.

    Does nothing if it is there already. The manifest of another artifact there is deleted before
    the first of its files is replaced. A URI has one uploader at a time: of two that meet with
    different artifacts, what is left may be refused by readers, and is never used. Raises DataError
    if the directory does not match its manifest.
    """
    manifest = verify_artifact(directory)
    store = open_store(uri)
    try:
        before = find_remote_manifest(uri, manifest.kind)
    except DataError:
        before = None
    if before == manifest and all(
        store.size(file) == entry.size for file, entry in manifest.files.items()
    ):
        return manifest
    store.delete(MANIFEST_FILENAME)
    for file in sorted(before.files.keys() - manifest.files.keys()) if before else ():
        store.delete(file)
    upload_files(store, "", manifest, directory)
    return manifest


def upload_files(store: Store, prefix: str, manifest: Manifest, directory: Path) -> None:
    """Upload the artifact in `directory`, which was verified, below `prefix`, manifest last."""

    def upload_file(file: str) -> None:
        store.upload(directory / file, _join_key(prefix, file))

    _run_in_parallel(upload_file, manifest.files)
    upload_file(MANIFEST_FILENAME)


def find_remote_manifest(uri: str, kind: ArtifactKind) -> Manifest | None:
    """The manifest of the artifact at a URI; None if there is no complete one.

    DataError if it is damaged or of another kind.
    """
    try:
        return read_remote_manifest(open_store(uri), "", kind)
    except MissingError:
        return None


def read_remote_manifest(store: Store, prefix: str, kind: ArtifactKind) -> Manifest:
    """The manifest of the artifact below `prefix`.

    MissingError if there is none; DataError if it is damaged, of another kind or format, or has
    file names that must not be written.
    """
    key = _join_key(prefix, MANIFEST_FILENAME)
    uri = store.uri(key)
    try:
        data = store.read_bytes(key, MAX_MANIFEST_BYTES)
    except MissingError:
        raise MissingError(
            f"{store.uri(prefix)}: no {MANIFEST_FILENAME}, so this is not a finished {kind}"
        ) from None
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{uri}: not a valid manifest ({error.error_count()} errors)") from None
    if manifest.kind != kind or manifest.format_version not in READABLE_FORMATS:
        raise DataError(
            f"{uri}: a {manifest.kind} of format {manifest.format_version}; this version of kubert "
            f"reads a {kind} of format {READABLE_FORMATS_TEXT}"
        )
    validate_file_names(manifest, store.uri(prefix))
    return manifest


def download_files(store: Store, prefix: str, manifest: Manifest, target: Path) -> None:
    """Make `target` the artifact below `prefix` with this manifest, as `download_artifact` does."""
    if is_up_to_date(target, manifest):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = new_staging_directory(target)
    except OSError as error:
        raise KubertError(
            f"{target.parent}: {error.strerror}; {target.name} is put together there"
        ) from None
    try:
        total = sum(entry.size for entry in manifest.files.values())
        if total > (free := shutil.disk_usage(staging).free):
            raise KubertError(f"{target}: {total} bytes are needed, {free} are free")

        def download_file(file: str) -> None:
            _download_file(store, _join_key(prefix, file), staging / file, manifest.files[file])

        _run_in_parallel(download_file, manifest.files)
        (staging / MANIFEST_FILENAME).write_bytes(serialize_manifest(manifest))
        _replace_target(staging, target, manifest)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def is_up_to_date(target: Path, manifest: Manifest) -> bool:
    """Whether the target is the artifact with this manifest, unchanged.

    DataError if it is anything else than an artifact of the kind or empty, so that it is not lost.
    """
    if not target.is_symlink() and (
        not target.exists() or (target.is_dir() and not any(target.iterdir()))
    ):
        return False
    try:
        found = None if target.is_symlink() else read_manifest(target, manifest.kind)
    except (DataError, NotADirectoryError):
        found = None
    if found is None:
        raise DataError(
            f"{target}: holds something else than a {manifest.kind}; "
            "remove it or name another directory"
        )
    if found != manifest:
        return False
    try:
        verify_files(target, manifest)
    except DataError:
        return False
    return True


def _download_file(store: Store, key: str, local: Path, entry: FileEntry) -> None:
    try:
        store.download(key, local, entry)
    except MissingError:
        raise DataError(f"{store.uri(key)}: missing, although the manifest names it") from None


def _run_in_parallel(action: Callable[[str], None], files: Iterable[str]) -> None:
    """Run the action for several files at once; raises the first error.

    Files whose action has not begun by then are skipped.
    """
    with ThreadPoolExecutor(MAX_PARALLEL_TRANSFERS) as pool:
        for _ in pool.map(action, files):
            pass


def _join_key(prefix: str, file: str) -> str:
    return f"{prefix}/{file}" if prefix else file


def _replace_target(staging: Path, target: Path, manifest: Manifest) -> None:
    try:
        replace_directory(staging, target)
    except OSError as error:
        # Another process may have put the same artifact there meanwhile.
        if not is_up_to_date(target, manifest):
            raise KubertError(f"{target}: cannot be put in place ({error.strerror})") from None
