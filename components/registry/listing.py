"""The layout of a model's keys in the registry, and one listing of them.

Keys:

    <name>/<version>/                 a release; complete when it has its manifest.json
    <name>/.kubert/claim-<version>    who claimed the number (`claims`)
    <name>/.kubert/released-<key>     the version that a release key was published as (`records`)
    <name>/.kubert/champion           the version that a rollback chose (`champion`)
    <name>/.kubert/checkpoint-<digest>/  the checkpoint that releases were exported from
    <name>/.kubert/staged-...         files of a release in progress, where renames are atomic
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from components.artifacts.manifest import MANIFEST_FILENAME
from components.config.cluster import MODEL_NAME
from components.errors import ConfigError
from components.storage.store import Store

PRIVATE_DIRECTORY = ".kubert"
"""Not a number, so that a model server that watches the model's directory ignores it."""
MODEL_NAME_PATTERN = re.compile(MODEL_NAME)
VERSION_PATTERN = re.compile(r"^[1-9][0-9]{0,17}$")


@dataclass(frozen=True)
class ModelListing:
    """The keys below a model's name, listed once: what follows from them asks the store no more."""

    store: Store
    name: str
    keys: frozenset[str]

    @property
    def uri(self) -> str:
        """The model's URI."""
        return self.store.uri(self.name)

    @property
    def versions(self) -> list[int]:
        """All complete versions, oldest first."""
        return sorted(_complete_versions(self.keys))

    def list_files(self, version: int) -> set[str]:
        """Names of all files of a version, relative to its directory."""
        prefix = f"{self.name}/{version}/"
        return {key.removeprefix(prefix) for key in self.keys if key.startswith(prefix)}

    def find_claims(self) -> Iterator[tuple[int, str]]:
        """The claimed version numbers with the keys of their claims."""
        prefix = claim_key(self.name, "")
        for key in sorted(self.keys):
            number = key.removeprefix(prefix)
            if key.startswith(prefix) and VERSION_PATTERN.match(number):
                yield int(number), key

    def find_largest_number(self) -> int:
        """The largest version number that is claimed or in use; 0 if there is none."""
        directories = (parts[1] for key in self.keys if len(parts := key.split("/")) > 2)
        used = (int(number) for number in directories if VERSION_PATTERN.match(number))
        return max([*used, *(number for number, _ in self.find_claims())], default=0)


def list_model(store: Store, name: str) -> ModelListing:
    """List a model's keys; ConfigError for an impossible name. A model may have no keys yet."""
    check_model_name(name)
    return ModelListing(store, name, frozenset(store.list(name)))


def list_models(store: Store) -> list[str]:
    """Names of the models that have a complete version, sorted."""
    names = {key.partition("/")[0] for key in store.list() if any(_complete_versions([key]))}
    return sorted(name for name in names if MODEL_NAME_PATTERN.match(name))


def list_versions(store: Store, name: str) -> list[int]:
    """All complete versions of a model, oldest first."""
    return list_model(store, name).versions


def check_model_name(name: str) -> None:
    """Raise ConfigError for a name that could not be a directory of a model server."""
    if not MODEL_NAME_PATTERN.match(name) or ".." in name:
        raise ConfigError(
            f"{name[:100]!r}: not a model's name; use letters, digits, `_`, `.` and `-`, "
            "at most 63, starting with a letter or digit"
        )


def claim_key(name: str, version: int | str) -> str:
    """The key of the claim of a version number."""
    return f"{name}/{PRIVATE_DIRECTORY}/claim-{version}"


def record_key(name: str, release_key: str) -> str:
    """The key of the record of a release key."""
    return f"{name}/{PRIVATE_DIRECTORY}/released-{release_key}"


def checkpoint_key(name: str, digest: str) -> str:
    """The key below which the checkpoint of a release is, by the digest of its manifest."""
    return f"{name}/{PRIVATE_DIRECTORY}/checkpoint-{digest}"


def champion_key(name: str) -> str:
    """The key of the champion pointer."""
    return f"{name}/{PRIVATE_DIRECTORY}/champion"


def _complete_versions(keys: Iterable[str]) -> Iterator[int]:
    for key in keys:
        parts = key.split("/")
        if len(parts) == 3 and parts[2] == MANIFEST_FILENAME and VERSION_PATTERN.match(parts[1]):
            yield int(parts[1])
