"""A released model is one integer version of a TensorFlow Serving directory, complete or invisible.

    <store>/<name>/<version>/    saved_model.pb, variables/, assets/, assets.extra/, and manifest.json last
    <store>/<name>/.kubert/      claims of version numbers, records of what was released, unfinished local copies

A version number is claimed by a conditional create and never given twice. What makes a release is the record of its key,
also a conditional create, written when every file is in place: of any number of publishers of one key, crashed, repeated
or at the same time, one gets the record, and the others take its version for theirs. A server that watches the directory
ignores `.kubert`, which is not a number.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.artifacts import transfer
from components.artifacts.artifact import Artifact, parse_content, verify_artifact
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest
from components.errors import ConfigError, DataError
from components.storage.store import CorruptError, MissingError, Store, StoreError

MODEL_FILENAME = "saved_model.pb"
PRIVATE_DIRECTORY = ".kubert"
MODEL_NAME_PATTERN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
RELEASE_KEY_PATTERN = re.compile(r"^[A-Za-z0-9_-]{1,128}$")
VERSION_PATTERN = re.compile(r"^[1-9][0-9]{0,17}$")


class ReleaseContent(BaseModel):
    """What a release says about itself. `name` and `version` are empty and 0 until it is published.

    `accuracy` and its 95 % interval `accuracy_low`..`accuracy_high`, and `macro_f1`, are shares of 1 on `test_rows` rows;
    `parity_difference` is the largest difference between a score served and the evaluator's, on `parity_rows` of them. `precision` is that of
    the served products; `served_accuracy` is the accuracy with it on all test rows, where it is not the evaluator's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = ""
    version: int = Field(0, ge=0)
    classes: tuple[str, ...]
    encoder: str
    max_length: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float | None
    test_rows: int
    gate: dict[str, Any]
    precision: str = "float32"
    served_accuracy: float | None = None
    parity_rows: int
    parity_difference: float


class PublishedVersion(BaseModel):
    """A version in the store; `created` is false if its key had been released before."""

    model_config = ConfigDict(frozen=True)
    version: int
    uri: str
    created: bool


class VersionClaim(BaseModel):
    """Who has a version number: the key, this attempt, and where its files are put together."""

    key: str
    attempt: str
    staged: str


class ReleaseRecord(BaseModel):
    """The version that a key was released as, with the manifest as it stands there."""

    version: int
    staged: str
    manifest: Manifest


class ChampionPointer(BaseModel):
    """A version to be preferred as long as no version above `until` is released."""

    version: int
    until: int


def publish(directory: Path, store: Store, name: str, key: str) -> PublishedVersion:
    """Release the sealed directory under the next free version, or find the version that `key` was released as.

    Idempotent by key: what a crash left half-done is completed or replaced by the next call, and never seen by a reader.
    Raises ConfigError for an impossible name, DataError if the directory does not match its manifest.
    """
    if (found := find_published(store, name, key)) is not None:
        return found
    manifest = open_release(directory).manifest
    version, claim = _claim(store, name, key)
    record = _upload(directory, manifest, store, name, version, claim)
    return _finish(store, name, key, record, created=record.version == version)


def find_published(store: Store, name: str, key: str) -> PublishedVersion | None:
    """The version that `key` was released as, made visible if a crash prevented that; None if it was not released."""
    _check_name(name)
    if not RELEASE_KEY_PATTERN.match(key):
        raise ConfigError(f"{key!r}: the key of a release is letters, digits, - and _")
    record = _recorded(store, name, key)
    return None if record is None else _finish(store, name, key, record, created=False)


def list_versions(store: Store, name: str) -> list[int]:
    """All complete versions, oldest first."""
    _check_name(name)
    return _complete(store.list(name))


def list_models(store: Store) -> list[str]:
    """The models in the store that have a complete version, sorted."""
    found = {key.partition("/")[0] for key in store.list() if _complete([key])}
    return sorted(name for name in found if MODEL_NAME_PATTERN.match(name))


def find_champion(store: Store, name: str) -> int | None:
    """The version in force: the newest complete one, unless an older one was put back (`set_champion`); None without any."""
    complete = list_versions(store, name)
    pointer = _champion_key(name)
    if complete and store.exists(pointer):
        chosen = ChampionPointer.model_validate_json(store.read_bytes(pointer))
        if chosen.version in complete and complete[-1] <= chosen.until:
            return chosen.version
    return complete[-1] if complete else None


def set_champion(store: Store, name: str, version: int) -> None:
    """Make an older complete version the champion, until another is released."""
    complete = list_versions(store, name)
    if version not in complete:
        raise DataError(
            f"{store.uri(name)}: has no version {version}; complete ones: {', '.join(map(str, complete)) or 'none'}"
        )
    store.write(
        _champion_key(name),
        ChampionPointer(version=version, until=complete[-1]).model_dump_json().encode(),
    )


def pull_version(store: Store, name: str, version: int, target: Path) -> Manifest:
    """Copy one version to the directory `target`, which appears whole and verified, or not at all.

    A target that already holds this very release is left as it is; a damaged release there is replaced. DataError if
    the store's copy lacks its manifest, differs from it in any file, or its manifest names what must not be written.
    """
    manifest = read_version_manifest(store, name, version)
    prefix = f"{name}/{version}"
    there = {key.removeprefix(f"{prefix}/") for key in store.list(prefix)} - {MANIFEST_FILENAME}
    _check_same(there, manifest.files, store.uri(prefix))
    transfer.download_files(store, prefix, manifest, target)
    return manifest


def read_version_manifest(store: Store, name: str, version: int) -> Manifest:
    """The manifest of one version in the store; DataError if it lacks one, or has another's or one that makes no sense."""
    _check_name(name)
    prefix = f"{name}/{version}"
    manifest = transfer.read_remote_manifest(store, prefix, "release")
    check_model(manifest, store.uri(prefix))
    content = parse_release_content(manifest, store.uri(prefix))
    if (content.name, content.version) != (name, version):
        raise DataError(
            f"{store.uri(prefix)}: its manifest is that of {content.name} version {content.version}"
        )
    return manifest


def open_release(directory: Path) -> Artifact[ReleaseContent]:
    """Verify a release; DataError if a file, its model or its content is not what it should be."""
    manifest = verify_artifact(directory, "release")
    check_model(manifest, str(directory))
    return Artifact(directory, manifest, parse_release_content(manifest, directory))


def parse_release_content(manifest: Manifest, source: Path | str) -> ReleaseContent:
    """The release's description; DataError, naming `source`, if the manifest has none."""
    return parse_content(ReleaseContent, manifest, source)


def _check_name(name: str) -> None:
    if not MODEL_NAME_PATTERN.match(name) or ".." in name:
        raise ConfigError(
            f"{name[:100]!r}: not a model's name; use letters, digits, `_`, `.` and `-`, at most 63, starting with a letter or digit"
        )


def check_model(manifest: Manifest, where: str) -> None:
    if MODEL_FILENAME not in manifest.files:
        raise DataError(f"{where}: its manifest names no {MODEL_FILENAME}")


def _check_same(there: Iterable[str], named: Iterable[str], where: str) -> None:
    there, named = set(there), set(named)
    if extra := sorted(there - named):
        raise DataError(f"{where}/{extra[0]}: not in the manifest; it was added after the release")
    if absent := sorted(named - there):
        raise DataError(f"{where}/{absent[0]}: missing, although the manifest names it")


def _complete(keys: Iterable[str]) -> list[int]:
    found = (key.split("/") for key in keys)
    return sorted(
        int(parts[1])
        for parts in found
        if len(parts) == 3 and parts[2] == MANIFEST_FILENAME and VERSION_PATTERN.match(parts[1])
    )


def _taken(keys: Iterable[str]) -> int:
    """The largest version number that was ever claimed or is in use."""
    numbers = [parts[1] for key in keys if len(parts := key.split("/")) > 2]
    claims = [key.rpartition("/claim-")[2] for key in keys if f"/{PRIVATE_DIRECTORY}/claim-" in key]
    return max(
        (int(number) for number in numbers + claims if VERSION_PATTERN.match(number)), default=0
    )


def _claim(store: Store, name: str, key: str) -> tuple[int, VersionClaim]:
    version = _taken(store.list(name)) + 1
    while True:
        attempt = uuid.uuid4().hex
        staged = (
            f"{name}/{PRIVATE_DIRECTORY}/staged-{version}-{attempt}"
            if store.supports_atomic_rename
            else f"{name}/{version}"
        )
        claim = VersionClaim(key=key, attempt=attempt, staged=staged)
        if store.create(
            f"{name}/{PRIVATE_DIRECTORY}/claim-{version}", claim.model_dump_json().encode()
        ):
            return version, claim
        version += 1


def _upload(
    directory: Path, manifest: Manifest, store: Store, name: str, version: int, claim: VersionClaim
) -> ReleaseRecord:
    """Put all files but the manifest in place, the model's graph last, and then get the record of the key, or another's."""
    for file in sorted(manifest.files, key=lambda file: (file == MODEL_FILENAME, file)):
        store.upload(directory / file, f"{claim.staged}/{file}")
    stamped = manifest.model_copy(
        update={"content": {**manifest.content, "name": name, "version": version}}
    )
    record = ReleaseRecord(version=version, staged=claim.staged, manifest=stamped)
    if store.supports_atomic_rename:
        # Before the record: once others can read it, one of them may rename the directory, and nothing may be written in it.
        store.write(f"{claim.staged}/{MANIFEST_FILENAME}", _bytes(stamped))
    if store.create(_record_key(name, claim.key), record.model_dump_json().encode()):
        return record
    return ReleaseRecord.model_validate_json(store.read_bytes(_record_key(name, claim.key)))


def _recorded(store: Store, name: str, key: str) -> ReleaseRecord | None:
    """The key's record, if its version is there or can still be finished; a record of a version that was removed is removed."""
    try:
        record = ReleaseRecord.model_validate_json(store.read_bytes(_record_key(name, key)))
    except MissingError:
        return None
    needed = {
        *record.manifest.files,
        *((MANIFEST_FILENAME,) if store.supports_atomic_rename else ()),
    }
    whole = {f"{record.staged}/{file}" for file in needed} <= set(store.list(record.staged))
    if whole or store.exists(f"{name}/{record.version}/{MANIFEST_FILENAME}"):
        return record
    store.delete(_record_key(name, key))
    return None


def _finish(
    store: Store, name: str, key: str, record: ReleaseRecord, created: bool
) -> PublishedVersion:
    """Make the recorded version visible, or find that another publisher has; then clear up after other attempts."""
    final = f"{name}/{record.version}"
    if not store.exists(f"{final}/{MANIFEST_FILENAME}"):
        if store.supports_atomic_rename:
            try:
                store.rename(record.staged, final)
            except (MissingError, StoreError):
                if not store.exists(f"{final}/{MANIFEST_FILENAME}"):
                    raise
        else:
            store.write(f"{final}/{MANIFEST_FILENAME}", _bytes(record.manifest))
    _clear_abandoned(store, name, key, record)
    return PublishedVersion(version=record.version, uri=store.uri(final), created=created)


def _bytes(manifest: Manifest) -> bytes:
    return (manifest.model_dump_json(indent=2) + "\n").encode()


def _clear_abandoned(store: Store, name: str, key: str, record: ReleaseRecord) -> None:
    """Remove the files of other attempts at this key. Their numbers stay claimed: such an attempt may still be running."""
    keys = store.list(name)
    complete = set(_complete(keys))
    for claim_key in (key for key in keys if f"/{PRIVATE_DIRECTORY}/claim-" in key):
        number = claim_key.rpartition("-")[2]
        if number == str(record.version) or (
            VERSION_PATTERN.match(number) and int(number) in complete
        ):
            continue
        try:
            claim = VersionClaim.model_validate_json(store.read_bytes(claim_key))
        except (MissingError, CorruptError, ValidationError):
            continue
        if claim.key == key and any(k.startswith(f"{claim.staged}/") for k in keys):
            store.clear(claim.staged)


def _record_key(name: str, key: str) -> str:
    return f"{name}/{PRIVATE_DIRECTORY}/released-{key}"


def _champion_key(name: str) -> str:
    return f"{name}/{PRIVATE_DIRECTORY}/champion"
