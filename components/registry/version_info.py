"""What a model store holds, as its releases tell it: a version that is damaged is listed as such and hides no other."""

from __future__ import annotations

from dataclasses import dataclass

from components.artifacts import release
from components.artifacts.manifest import Manifest
from components.artifacts.release import ReleaseContent
from components.errors import DataError
from components.storage.store import Store


@dataclass(frozen=True)
class Version:
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


def versions(store: Store, name: str) -> list[Version]:
    """All complete versions of a model, oldest first."""
    served = release.champion(store, name)
    return [
        version(store, name, number, number == served) for number in release.versions(store, name)
    ]


def version(store: Store, name: str, number: int, champion: bool) -> Version:
    """One version, as its manifest describes it; its files are not looked at."""
    try:
        manifest = release.describe(store, name, number)
        return Version(
            number,
            champion,
            manifest,
            release.read_content(manifest, store.uri(f"{name}/{number}")),
        )
    except DataError as error:
        return Version(number, champion, problem=str(error))
