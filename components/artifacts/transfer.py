"""A sealed artifact goes to a store, and comes from it, whole and verified, or not at all.

Up, the manifest goes last, so that no reader sees a part; what a dead upload left is completed by the next one. Down, a
name that could be written elsewhere than below the target is refused before anything is fetched, every file is held
against the manifest, and the directory appears by one rename.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import ValidationError

from components.artifacts import manifest as manifests
from components.artifacts.artifact import validate_file_names, verify_artifact, verify_files
from components.artifacts.manifest import MANIFEST_FILENAME, ArtifactKind, Manifest
from components.errors import DataError, KubertError
from components.storage.atomic_files import FileEntry, replace_directory
from components.storage.store import MissingError, Store, open_store

MAX_PARALLEL_TRANSFERS = 4
"""Files on their way at once. A part of 16 or 32 MiB of each is in memory."""
MAX_MANIFEST_BYTES = 16 * 2**20


def download_artifact(uri: str, directory: Path, kind: ArtifactKind) -> Manifest:
    """Bring the artifact at a path, gs://, s3:// or minio:// URI to `directory`, whole and verified, or not at all.

    A directory that already holds this very artifact is left as it is; another artifact of the kind, or a damaged one,
    is replaced; anything else there is refused. The parent must be writable: what is fetched is put together in it.
    Raises DataError if there is no such sealed artifact, it is of another kind or does not verify.
    """
    store = open_store(uri)
    manifest = read_remote_manifest(store, "", kind)
    download_files(store, "", manifest, directory)
    return manifest


def upload_artifact(directory: Path, uri: str) -> Manifest:
    """Upload the sealed artifact in `directory` to a path, gs://, s3:// or minio:// URI: all its files, then its manifest.

    Does nothing if it is there already, and completes what an earlier push left. Another artifact there ceases to exist
    before the first of its files is touched. A place has one pusher at a time: of two that meet with different artifacts,
    what is left may be refused by readers, and is never used. Raises DataError if `directory` does not match its manifest.
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
    _in_parallel(lambda file: store.upload(directory / file, file), manifest.files)
    store.upload(directory / MANIFEST_FILENAME, MANIFEST_FILENAME)
    return manifest


def find_remote_manifest(uri: str, kind: ArtifactKind) -> Manifest | None:
    """The manifest of the artifact at a URI; None if none is there, or not yet; DataError if it is damaged or of another kind."""
    try:
        return read_remote_manifest(open_store(uri), "", kind)
    except MissingError:
        return None


def read_remote_manifest(store: Store, prefix: str, kind: ArtifactKind) -> Manifest:
    """The manifest of the artifact below `prefix`.

    MissingError if there is none; DataError if it is damaged, of another kind or format, or names what must not be written.
    """
    where = store.uri(_key(prefix, MANIFEST_FILENAME))
    try:
        data = store.read_bytes(_key(prefix, MANIFEST_FILENAME), MAX_MANIFEST_BYTES)
    except MissingError:
        raise MissingError(
            f"{store.uri(prefix)}: no {MANIFEST_FILENAME}, so this is not a finished {kind}"
        ) from None
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{where}: not a valid manifest ({error.error_count()} errors)") from None
    if manifest.kind != kind or manifest.format_version != manifests.FORMAT_VERSION:
        raise DataError(
            f"{where}: a {manifest.kind} of format {manifest.format_version}, not a {kind} of format {manifests.FORMAT_VERSION}"
        )
    validate_file_names(manifest, store.uri(prefix))
    return manifest


def download_files(store: Store, prefix: str, manifest: Manifest, target: Path) -> None:
    """Make `target` the artifact below `prefix` whose manifest was read from there, as `fetch` says."""
    if is_up_to_date(target, manifest):
        return
    total = sum(entry.size for entry in manifest.files.values())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise KubertError(
            f"{target.parent}: {error.strerror}; {target.name} is put together there"
        ) from None
    try:
        if total > (free := shutil.disk_usage(work).free):
            raise KubertError(f"{target}: {total} bytes are needed, {free} are free")
        _in_parallel(
            lambda file: _download(store, _key(prefix, file), work / file, manifest.files[file]),
            manifest.files,
        )
        (work / MANIFEST_FILENAME).write_text(
            manifest.model_dump_json(indent=2) + "\n", encoding="utf-8"
        )
        work.chmod(0o755)
        _move_into_place(work, target, manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_up_to_date(target: Path, manifest: Manifest) -> bool:
    """Whether the target is this very artifact. Anything else than an artifact of its kind is refused, so that it is not lost."""
    if not target.is_symlink() and (
        not target.exists() or (target.is_dir() and not any(target.iterdir()))
    ):
        return False
    try:
        found = None if target.is_symlink() else manifests.read_manifest(target, manifest.kind)
    except (DataError, NotADirectoryError):
        found = None
    if found is None:
        raise DataError(
            f"{target}: holds something else than a {manifest.kind}; remove it or name another directory"
        )
    if found != manifest:
        return False
    try:
        verify_files(target, manifest)
    except DataError:
        return False
    return True


def _download(store: Store, key: str, local: Path, entry: FileEntry) -> None:
    try:
        store.download(key, local, entry)
    except MissingError:
        raise DataError(f"{store.uri(key)}: missing, although the manifest names it") from None


def _in_parallel(act: Callable[[str], None], files: Iterable[str]) -> None:
    """Act on all files, several at a time; of the first error, which is raised, those not yet begun are spared."""
    with ThreadPoolExecutor(MAX_PARALLEL_TRANSFERS) as pool:
        for _ in pool.map(act, files):
            pass


def _key(prefix: str, file: str) -> str:
    return f"{prefix}/{file}" if prefix else file


def _move_into_place(work: Path, target: Path, manifest: Manifest) -> None:
    try:
        replace_directory(work, target)
    except OSError as error:
        # Another process may have put the same artifact there meanwhile.
        if not is_up_to_date(target, manifest):
            raise KubertError(f"{target}: cannot be put in place ({error.strerror})") from None
