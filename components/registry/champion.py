"""The champion: the version that servers serve and that a candidate must not be worse than."""

from __future__ import annotations

from pydantic import BaseModel, Field

from components.errors import DataError
from components.registry.listing import ModelListing, champion_key, list_model
from components.storage.store import Store


class ChampionPointer(BaseModel):
    """A version to prefer to newer ones while none above `valid_until_version` is complete."""

    version: int
    valid_until_version: int = Field(alias="until")


def find_champion(store: Store, name: str) -> int | None:
    """The champion's version number; None if the model has no complete version."""
    return read_champion(list_model(store, name))


def read_champion(listing: ModelListing) -> int | None:
    """The newest complete version, or the older one that `set_champion` chose; None without any."""
    versions, pointer_key = listing.versions, champion_key(listing.name)
    if versions and pointer_key in listing.keys:
        pointer = ChampionPointer.model_validate_json(listing.store.read_bytes(pointer_key))
        if pointer.version in versions and versions[-1] <= pointer.valid_until_version:
            return pointer.version
    return versions[-1] if versions else None


def set_champion(store: Store, name: str, version: int) -> None:
    """Make a complete version the champion until a newer one is published.

    DataError if it is not complete.
    """
    versions = list_model(store, name).versions
    if version not in versions:
        raise DataError(
            f"{store.uri(name)}: has no version {version}; "
            f"complete ones: {', '.join(map(str, versions)) or 'none'}"
        )
    pointer = ChampionPointer(version=version, until=versions[-1])
    store.write(champion_key(name), pointer.model_dump_json(by_alias=True).encode())
