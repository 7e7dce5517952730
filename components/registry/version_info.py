"""What a model store holds, as its releases tell it: a version that is damaged is listed as such and hides no other."""

from __future__ import annotations

from dataclasses import dataclass

from components.artifacts import release
from components.artifacts.manifest import Manifest
from components.artifacts.release import ReleaseContent
from components.errors import DataError
from components.storage.store import Store


@dataclass(frozen=True)
class VersionInfo:
    """One complete version; `manifest` and `content` are None, and `problem` says why, where its manifest is damaged."""

    number: int
    champion: bool
    manifest: Manifest | None = None
    content: ReleaseContent | None = None
    problem: str = ""

    @property
    def released(self) -> str:
        """When it was released (ISO 8601, UTC); empty if it does not say so."""
        return str(self.manifest.provenance.get("released", "")) if self.manifest else ""

    @property
    def run(self) -> str:
        """The run that released it; empty if it does not say so."""
        return str(self.manifest.provenance.get("run", "")) if self.manifest else ""

    @property
    def data(self) -> str:
        """SHA-256 of the data it was made from; empty if it does not say so."""
        return self.manifest.inputs.get("data", "") if self.manifest else ""


def list_version_info(store: Store, name: str) -> list[VersionInfo]:
    """All complete versions of a model, oldest first."""
    served = release.find_champion(store, name)
    return [
        read_version_info(store, name, number, number == served)
        for number in release.list_versions(store, name)
    ]


def read_version_info(store: Store, name: str, number: int, champion: bool) -> VersionInfo:
    """One version, as its manifest describes it; its files are not looked at."""
    try:
        manifest = release.read_version_manifest(store, name, number)
        return VersionInfo(
            number,
            champion,
            manifest,
            release.parse_release_content(manifest, store.uri(f"{name}/{number}")),
        )
    except DataError as error:
        return VersionInfo(number, champion, problem=str(error))
