"""Publish a release under the next version number, and pull a version.

Publishing is idempotent by release key (the protocol is in README.md): of any number of publishers
of one key, crashed, repeated or concurrent, one gets the version and the others return it. Readers
see a version complete or not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.artifacts import transfer
from components.artifacts.artifact import Artifact
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest
from components.artifacts.release import ReleaseContent, parse_release_content
from components.errors import ConfigError, DataError
from components.registry.claims import claim_next_version, delete_abandoned_files
from components.registry.listing import ModelListing, check_model_name, list_model
from components.registry.records import (
    ReleaseRecord,
    make_visible,
    read_record,
    upload_and_record,
)
from components.storage.store import Store

RELEASE_KEY_PATTERN = re.compile(r"^[A-Za-z0-9_-]{1,128}$")


class PublishedVersion(BaseModel):
    """A version in the registry; `created` is false if its key had been published before."""

    model_config = ConfigDict(frozen=True)
    version: int
    uri: str
    created: bool


@dataclass(frozen=True)
class RegisteredRelease:
    """A complete version in the registry, described by its manifest; its files were not read."""

    listing: ModelListing
    version: int
    manifest: Manifest
    content: ReleaseContent

    @property
    def size(self) -> int:
        """Size of all files in bytes."""
        return sum(entry.size for entry in self.manifest.files.values())

    def pull(self, target: Path) -> Artifact[ReleaseContent]:
        """Download the release to the directory `target`, complete and verified or not at all.

        A target that already holds this release is left as it is; another or a damaged release
        there is replaced. DataError if a file in the registry is missing, added or changed.
        """
        found = self.listing.list_files(self.version) - {MANIFEST_FILENAME}
        prefix = f"{self.listing.name}/{self.version}"
        uri = self.listing.store.uri(prefix)
        if extra := sorted(found - self.manifest.files.keys()):
            raise DataError(
                f"{uri}/{extra[0]}: not in the manifest; it was added after the release"
            )
        if absent := sorted(self.manifest.files.keys() - found):
            raise DataError(f"{uri}/{absent[0]}: missing, although the manifest names it")
        transfer.download_files(self.listing.store, prefix, self.manifest, target)
        return Artifact(target, self.manifest, self.content)


def publish(
    release: Artifact[ReleaseContent], store: Store, name: str, key: str
) -> PublishedVersion:
    """Publish a release under the next free version, or find the version of its release key.

    What a crashed attempt at the key left is completed or replaced. ConfigError for an impossible
    name or key.
    """
    if (published := find_published(store, name, key)) is not None:
        return published
    version, claim = claim_next_version(list_model(store, name), key)
    record = upload_and_record(release, store, name, version, claim)
    return _complete_publication(store, name, key, record, created=record.version == version)


def find_published(store: Store, name: str, key: str) -> PublishedVersion | None:
    """The version that a release key was published as; None if it was not.

    A version that a crash left invisible is made visible.
    """
    check_model_name(name)
    if not RELEASE_KEY_PATTERN.match(key):
        raise ConfigError(f"{key!r}: the key of a release is letters, digits, - and _")
    record = read_record(store, name, key)
    return (
        None if record is None else _complete_publication(store, name, key, record, created=False)
    )


def read_release(listing: ModelListing, version: int) -> RegisteredRelease:
    """A version as its manifest describes it; DataError if that is missing or another's."""
    prefix = f"{listing.name}/{version}"
    uri = listing.store.uri(prefix)
    manifest = transfer.read_remote_manifest(listing.store, prefix, "release")
    content = parse_release_content(manifest, uri)
    if (content.name, content.version) != (listing.name, version):
        raise DataError(f"{uri}: its manifest is that of {content.name} version {content.version}")
    return RegisteredRelease(listing, version, manifest, content)


def pull_version(store: Store, name: str, version: int, target: Path) -> Artifact[ReleaseContent]:
    """Pull one version to the directory `target` (see `RegisteredRelease.pull`)."""
    return read_release(list_model(store, name), version).pull(target)


def _complete_publication(
    store: Store, name: str, key: str, record: ReleaseRecord, created: bool
) -> PublishedVersion:
    make_visible(store, name, record)
    delete_abandoned_files(store, name, key, record.version)
    uri = store.uri(f"{name}/{record.version}")
    return PublishedVersion(version=record.version, uri=uri, created=created)
