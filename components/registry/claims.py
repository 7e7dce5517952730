"""Claims of version numbers: a number is claimed by a conditional create and never given twice."""

from __future__ import annotations

import uuid

from pydantic import BaseModel, ValidationError

from components.registry.listing import PRIVATE_DIRECTORY, ModelListing, claim_key, list_model
from components.storage.store import CorruptError, MissingError, Store


class VersionClaim(BaseModel):
    """Who has a version number: a release key, this attempt at it, and the prefix of its files."""

    key: str
    attempt: str
    staged: str


def claim_next_version(listing: ModelListing, key: str) -> tuple[int, VersionClaim]:
    """Claim the next number that nobody has, also among concurrent publishers."""
    store, name = listing.store, listing.name
    version = listing.find_largest_number() + 1
    while True:
        # Unique: after a lost reply the claim in the store shows whether this create succeeded.
        attempt = uuid.uuid4().hex
        staged = (
            f"{name}/{PRIVATE_DIRECTORY}/staged-{version}-{attempt}"
            if store.supports_atomic_rename
            else f"{name}/{version}"
        )
        claim = VersionClaim(key=key, attempt=attempt, staged=staged)
        if store.create(claim_key(name, version), claim.model_dump_json().encode()):
            return version, claim
        version += 1


def delete_abandoned_files(store: Store, name: str, key: str, published: int) -> None:
    """Delete the files of other attempts at a release key that was published.

    Their numbers stay claimed: such an attempt may still be running.
    """
    listing = list_model(store, name)
    complete = set(listing.versions)
    for version, path in listing.find_claims():
        if version == published or version in complete:
            continue
        try:
            claim = VersionClaim.model_validate_json(store.read_bytes(path))
        except (MissingError, CorruptError, ValidationError):
            continue
        if claim.key == key and any(k.startswith(f"{claim.staged}/") for k in listing.keys):
            store.clear(claim.staged)
