"""The release whose weights a training begins with (`model.start_from`), resolved and read.

A release's float32 weights, its vocabulary and its classes are those of the checkpoint that it was
exported from, which is published beside the versions: a served model has weights that were merged,
perhaps in bfloat16. A model server never reads it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from components.artifacts import transfer
from components.artifacts.artifact import Artifact, parse_content
from components.artifacts.checkpoint import (
    VOCABULARY_FILENAME,
    CheckpointContent,
    open_checkpoint,
)
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest
from components.artifacts.release import ReleaseLineage, StartingPoint, StartingRelease
from components.artifacts.vocabulary import Vocabulary
from components.errors import DataError
from components.registry.listing import ModelListing, checkpoint_key, list_model
from components.registry.reference import parse_model_reference, resolve_in_listing
from components.registry.registry import RegisteredRelease, read_release
from components.storage.store import MissingError, Store, open_store
from components.storage.uri import has_scheme


def publish_checkpoint(checkpoint: Artifact[CheckpointContent], store: Store, name: str) -> None:
    """Publish the checkpoint of a release beside the model's versions, under its digest.

    Nothing is written if it is there; what a crash left is completed. Publish it before the
    release, so that each complete version has its checkpoint.
    """
    prefix, manifest = checkpoint_key(name, checkpoint.digest), checkpoint.manifest
    wanted = {f"{prefix}/{file}" for file in (*manifest.files, MANIFEST_FILENAME)}
    if wanted <= set(store.list(prefix)):
        return
    # Not upload_artifact, which deletes a manifest first: another exporter may have just written it
    # and published its release.
    transfer.upload_files(store, prefix, manifest, checkpoint.directory)


def resolve_starting_point(reference: str) -> StartingPoint:
    """What a training begins with: a version that is fixed from here on, or nothing yet.

    `reference` names a version, or else means the champion. Raises DataError if the version does
    not exist, or has no checkpoint to start from.
    """
    parsed = parse_model_reference(reference)
    listing = list_model(parsed.store, parsed.name)
    if parsed.version is None and not listing.versions:
        return StartingPoint(reference=reference)
    release = read_release(listing, resolve_in_listing(listing, parsed.version).version)
    start = _describe_start(release)
    read_checkpoint(start)
    if parsed.version is not None:
        return StartingPoint(reference=reference, release=start)
    return StartingPoint(
        reference=reference,
        release=start,
        trained_on=release.manifest.inputs.get("shards", ""),
        is_first=release.content.start_from is None,
        previous=_find_previous(listing, release.content.start_from),
    )


def read_checkpoint(release: StartingRelease) -> tuple[Manifest, CheckpointContent]:
    """Manifest and description of a release's checkpoint; its files are not read.

    DataError, with the remedy, if the release has none.
    """
    store, prefix = open_store(release.store), checkpoint_key(release.name, release.checkpoint)
    where = f"{store.uri(release.name)}: version {release.version}"
    try:
        manifest = transfer.read_remote_manifest(store, prefix, "checkpoint")
    except MissingError:
        raise DataError(
            f"{where} has no checkpoint to start from; export it again with the run that made it, "
            "which adds the checkpoint and keeps the version, or leave out model.start_from"
        ) from None
    if manifest.digest != release.checkpoint:
        raise DataError(f"{where}: its checkpoint is damaged; export it again")
    return manifest, parse_content(CheckpointContent, manifest, store.uri(prefix))


def read_release_vocabulary(
    release: StartingRelease, manifest: Manifest, content: CheckpointContent
) -> Vocabulary:
    """The vocabulary that a release was trained with; DataError if its file is damaged.

    `manifest` and `content` are what `read_checkpoint` returned for the release.
    """
    store, prefix = open_store(release.store), checkpoint_key(release.name, release.checkpoint)
    with tempfile.TemporaryDirectory(prefix="kubert-vocabulary-") as directory:
        path = Path(directory) / VOCABULARY_FILENAME
        store.download(f"{prefix}/{VOCABULARY_FILENAME}", path, manifest.files[VOCABULARY_FILENAME])
        return Vocabulary.read(path, content.lower_case, content.strip_accents)


def open_release_checkpoint(
    release: StartingRelease, directory: Path
) -> Artifact[CheckpointContent]:
    """The verified checkpoint of a release, downloaded to `directory` from object storage."""
    manifest, content = read_checkpoint(release)
    store, prefix = open_store(release.store), checkpoint_key(release.name, release.checkpoint)
    uri = store.uri(prefix)
    if not has_scheme(uri):
        return open_checkpoint(Path(uri))
    transfer.download_files(store, prefix, manifest, directory)
    return Artifact(directory, manifest, content)


def _describe_start(release: RegisteredRelease) -> StartingRelease:
    return StartingRelease(
        name=release.listing.name,
        version=release.version,
        digest=release.manifest.digest,
        store=release.listing.store.uri(),
        checkpoint=release.manifest.inputs.get("checkpoint", ""),
    )


def _find_previous(listing: ModelListing, lineage: ReleaseLineage | None) -> StartingRelease | None:
    """The release of the same model that a champion started from, if it is still there."""
    if lineage is None or lineage.name != listing.name or lineage.version not in listing.versions:
        return None
    release = read_release(listing, lineage.version)
    return _describe_start(release) if release.manifest.digest == lineage.digest else None
