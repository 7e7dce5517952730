"""Bring a released version from a model store to a directory, whole and verified, or not at all. No TensorFlow."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from components.artifacts import release
from components.artifacts.manifest import Manifest
from components.errors import DataError, UsageError
from components.storage.store import Store, open_store
from components.storage.uri import is_remote_uri


@dataclass(frozen=True)
class ModelReference:
    """One model in one store, and the version that was asked for (None: the champion)."""

    store: Store
    name: str
    version: int | None


def parse_model_reference(reference: str) -> ModelReference:
    """The place that `<store>/<name>`, `<store>/<name>@<version>` or `<store>/<name>/<version>` means.

    A local path may be relative and hold `..`. Raises UsageError for anything else.
    """
    given = reference
    if not is_remote_uri(reference):
        reference = os.path.abspath(reference.removeprefix("file://"))  # noqa: PTH100 - links are the caller's choice
    pinned = re.fullmatch(r"(.+)/([^/]+)@([^/@]+)", reference)
    if pinned:
        reference = "/".join(pinned.groups())
    parts = reference.rstrip("/").split("/")
    version = int(parts.pop()) if release.VERSION_PATTERN.match(parts[-1]) else None
    name, root = parts[-1], "/".join(parts[:-1])
    if (
        not release.MODEL_NAME_PATTERN.match(name)
        or (pinned and version is None)
        or (is_remote_uri(reference) and root.count("/") < 2)
    ):
        raise UsageError(
            f"{given}: write <store>/<model name>, or <store>/<model name>@<version> with a whole number"
        )
    return ModelReference(open_store(root or "/"), name, version)


def pull(reference: str, into: Path) -> tuple[int, Path, Manifest]:
    """Copy the version that `reference` means to `into/<version>`, the layout a model server watches.

    Returns version, directory and manifest. A version that is already there, unchanged, is left as it is. Raises
    DataError if there is no such complete version or it does not verify; nothing is then changed in `into`.
    """
    place = parse_model_reference(reference)
    version = resolve_version(place)
    target = into / str(version)
    return version, target, release.pull_version(place.store, place.name, version, target)


def resolve_version(place: ModelReference) -> int:
    """The version asked for, or the champion; DataError if it is not complete or there is none."""
    complete = release.list_versions(place.store, place.name)
    version = (
        place.version
        if place.version is not None
        else release.find_champion(place.store, place.name)
    )
    if version not in complete or version is None:
        found = (
            f"complete versions: {', '.join(map(str, complete))}"
            if complete
            else "nothing is released under this name"
        )
        raise DataError(
            f"{place.store.uri(place.name)}: no version {version or ''}".rstrip() + f"; {found}"
        )
    return version
