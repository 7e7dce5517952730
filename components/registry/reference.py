"""Model references: `<store>/<name>[@<version>]`, parsed, resolved to a version, and pulled.

Imports no TensorFlow.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from components.artifacts.artifact import Artifact
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest, read_manifest
from components.artifacts.release import MODEL_FILENAME, ReleaseContent, parse_release_content
from components.errors import DataError, UsageError
from components.registry.champion import read_champion
from components.registry.listing import (
    MODEL_NAME_PATTERN,
    PRIVATE_DIRECTORY,
    VERSION_PATTERN,
    ModelListing,
    champion_key,
    claim_key,
    list_model,
    record_key,
)
from components.registry.registry import read_release
from components.storage.store import Store, open_store
from components.storage.uri import is_remote_uri


@dataclass(frozen=True)
class ModelReference:
    """A model in a registry and the version that was asked for; None means the champion."""

    store: Store
    name: str
    version: int | None


@dataclass(frozen=True)
class ResolvedVersion:
    """The complete version that a reference means, with the listing it was found in."""

    listing: ModelListing
    version: int

    @property
    def is_champion(self) -> bool:
        """Whether the version is the champion."""
        return self.version == read_champion(self.listing)

    @property
    def uri(self) -> str:
        """The version's URI, or its directory for a local registry."""
        return self.listing.store.uri(f"{self.listing.name}/{self.version}")


def parse_model_reference(reference: str) -> ModelReference:
    """Parse `<store>/<name>`, `<store>/<name>@<version>` or `<store>/<name>/<version>`.

    A local path may be relative and contain `..`. Raises UsageError for anything else.
    """
    root, name, version = split_model_reference(reference)
    return ModelReference(open_store(root), name, version)


def split_model_reference(reference: str) -> tuple[str, str, int | None]:
    """The store, name and version of a reference; UsageError as from `parse_model_reference`.

    Opens no store, so it needs no credentials.
    """
    given = reference
    if not is_remote_uri(reference):
        # Not resolved: a link in the path is the caller's choice.
        reference = os.path.abspath(reference.removeprefix("file://"))  # noqa: PTH100
    pinned = re.fullmatch(r"(.+)/([^/]+)@([^/@]+)", reference)
    if pinned:
        reference = "/".join(pinned.groups())
    parts = reference.rstrip("/").split("/")
    version = int(parts.pop()) if VERSION_PATTERN.match(parts[-1]) else None
    name, root = parts[-1], "/".join(parts[:-1])
    if (
        not MODEL_NAME_PATTERN.match(name)
        or (pinned and version is None)
        or (is_remote_uri(reference) and root.count("/") < 2)
    ):
        raise UsageError(
            f"{given}: write <store>/<model name>, or <store>/<model name>@<version> "
            "with a whole number"
        )
    return root or "/", name, version


def resolve_version(reference: ModelReference) -> ResolvedVersion:
    """The version asked for, or the champion; DataError if it is not complete or there is none."""
    return resolve_in_listing(list_model(reference.store, reference.name), reference.version)


def resolve_in_listing(listing: ModelListing, version: int | None) -> ResolvedVersion:
    """`resolve_version` for a model that is listed already; the version None means the champion."""
    version = read_champion(listing) if version is None else version
    if version is None or version not in listing.versions:
        found = (
            f"complete versions: {', '.join(map(str, listing.versions))}"
            if listing.versions
            else "nothing is released under this name"
        )
        raise DataError(f"{listing.uri}: no version {version or ''}".rstrip() + f"; {found}")
    return ResolvedVersion(listing, version)


@dataclass(frozen=True)
class FoundRelease:
    """A release that a reference means: its directory or URI, and its manifest; no file is read."""

    uri: str
    manifest: Manifest
    content: ReleaseContent


def find_release(reference: str) -> FoundRelease:
    """The release at a directory, or the version that a model reference means.

    Raises what `resolve_version` raises, and DataError for a manifest that is no release's.
    """
    if not is_remote_uri(reference):
        directory = Path(reference.removeprefix("file://"))
        if is_release_directory(directory):
            manifest = read_manifest(directory, "release")
            content = parse_release_content(manifest, directory)
            return FoundRelease(str(directory.resolve()), manifest, content)
    resolved = resolve_version(parse_model_reference(reference))
    release = read_release(resolved.listing, resolved.version)
    return FoundRelease(resolved.uri, release.manifest, release.content)


def is_release_directory(directory: Path) -> bool:
    """Whether the directory is a version itself, and not the directory of a model."""
    return (directory / MANIFEST_FILENAME).exists() or (directory / MODEL_FILENAME).exists()


def is_model_directory(uri: str) -> bool:
    """Whether a directory or URI is that of a model: of a registry, or of a model server.

    Of a model server it has versions only; these are looked for in local directories.
    """
    prefixes = (claim_key("", ""), record_key("", ""), champion_key(""))
    if any(f"/{key}".startswith(prefixes) for key in open_store(uri).list(PRIVATE_DIRECTORY)):
        return True
    found = [] if is_remote_uri(uri) else Path(uri).glob(f"*/{MODEL_FILENAME}")
    return any(VERSION_PATTERN.match(path.parent.name) for path in found)


def pull(reference: str, into: Path) -> Artifact[ReleaseContent]:
    """Pull the version that `reference` means to `into/<version>`, the layout of a model server.

    A version that is already there, unchanged, is left as it is. Raises DataError if there is no
    such complete version or it does not verify; nothing is changed in `into` then.
    """
    resolved = resolve_version(parse_model_reference(reference))
    release = read_release(resolved.listing, resolved.version)
    return release.pull(into / str(resolved.version))
