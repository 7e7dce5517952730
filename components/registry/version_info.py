"""The versions of a model as their manifests describe them, for `kubert models`.

A version whose manifest is damaged is listed with the problem and hides no other version.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.artifacts.manifest import Manifest
from components.artifacts.release import ReleaseContent
from components.errors import DataError
from components.registry.champion import read_champion
from components.registry.listing import ModelListing, list_model
from components.registry.registry import read_release
from components.storage.store import Store


@dataclass(frozen=True)
class VersionInfo:
    """A complete version; if its manifest is damaged, `problem` says why and the rest is None."""

    number: int
    champion: bool
    manifest: Manifest | None = None
    content: ReleaseContent | None = None
    problem: str = ""

    @property
    def released_at(self) -> str:
        """Time of the export (ISO 8601, UTC); empty if unknown."""
        return str(self.manifest.provenance.get("released", "")) if self.manifest else ""

    @property
    def run(self) -> str:
        """ID of the run that exported it; empty if unknown."""
        return str(self.manifest.provenance.get("run", "")) if self.manifest else ""

    @property
    def data(self) -> str:
        """SHA-256 of the data it was trained on; empty if unknown."""
        return self.manifest.inputs.get("data", "") if self.manifest else ""


def list_version_info(store: Store, name: str) -> list[VersionInfo]:
    """All complete versions of a model, oldest first."""
    listing = list_model(store, name)
    champion = read_champion(listing)
    return [
        read_version_info(listing, version, version == champion) for version in listing.versions
    ]


def read_version_info(listing: ModelListing, version: int, champion: bool) -> VersionInfo:
    """One version as its manifest describes it; its files are not read."""
    try:
        release = read_release(listing, version)
    except DataError as error:
        return VersionInfo(version, champion, problem=str(error))
    return VersionInfo(version, champion, release.manifest, release.content)
