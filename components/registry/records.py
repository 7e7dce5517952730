"""Release records: a conditional create decides which attempt at a release key is the release."""

from __future__ import annotations

from pydantic import BaseModel

from components.artifacts.artifact import Artifact
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest, serialize_manifest
from components.artifacts.release import MODEL_FILENAME, ReleaseContent
from components.registry.claims import VersionClaim
from components.registry.listing import record_key
from components.storage.store import MissingError, Store, StoreError


class ReleaseRecord(BaseModel):
    """The version that a release key was published as, with its manifest.

    `staged` is the prefix below which the files were uploaded: where directories can be renamed a
    private one, otherwise the version's own.
    """

    version: int
    staged: str
    manifest: Manifest


def read_record(store: Store, name: str, key: str) -> ReleaseRecord | None:
    """The record of a release key; None if there is none, or its version was deleted.

    A version that a crash left invisible counts as there as long as all its files are. The record
    of a deleted version is deleted, so that the key can be published again.
    """
    try:
        record = ReleaseRecord.model_validate_json(store.read_bytes(record_key(name, key)))
    except MissingError:
        return None
    needed = set(record.manifest.files)
    if store.supports_atomic_rename:
        needed.add(MANIFEST_FILENAME)
    is_complete = {f"{record.staged}/{file}" for file in needed} <= set(store.list(record.staged))
    if is_complete or store.exists(f"{name}/{record.version}/{MANIFEST_FILENAME}"):
        return record
    store.delete(record_key(name, key))
    return None


def upload_and_record(
    release: Artifact[ReleaseContent], store: Store, name: str, version: int, claim: VersionClaim
) -> ReleaseRecord:
    """Upload all files but the manifest, the model file last, and create the key's record.

    Returns the record of another publisher of the same key if that one was first.
    """
    manifest = release.manifest
    for file in sorted(manifest.files, key=lambda file: (file == MODEL_FILENAME, file)):
        store.upload(release.directory / file, f"{claim.staged}/{file}")
    content = {**manifest.content, "name": name, "version": version}
    stamped = manifest.model_copy(update={"content": content})
    record = ReleaseRecord(version=version, staged=claim.staged, manifest=stamped)
    if store.supports_atomic_rename:
        # Before the record: once others can read that, one of them may rename the directory,
        # and nothing may be written into it any more.
        store.write(f"{claim.staged}/{MANIFEST_FILENAME}", serialize_manifest(stamped))
    path = record_key(name, claim.key)
    if store.create(path, record.model_dump_json().encode()):
        return record
    return ReleaseRecord.model_validate_json(store.read_bytes(path))


def make_visible(store: Store, name: str, record: ReleaseRecord) -> None:
    """Make the recorded version complete for readers, unless another publisher has done it."""
    final = f"{name}/{record.version}"
    if store.exists(f"{final}/{MANIFEST_FILENAME}"):
        return
    if not store.supports_atomic_rename:
        store.write(f"{final}/{MANIFEST_FILENAME}", serialize_manifest(record.manifest))
        return
    try:
        store.rename(record.staged, final)
    except (MissingError, StoreError):
        if not store.exists(f"{final}/{MANIFEST_FILENAME}"):
            raise
