"""Pins the release of a batch prediction, so that all attempts and retries use the same one."""

from __future__ import annotations

from components.artifacts.manifest import Manifest
from components.batch_prediction.target import Target, parse_target
from components.registry.reference import find_release, parse_model_reference
from components.scoring.state_identity import read_model_uri
from components.storage.store import open_store


def pin_release(release: str, to: str) -> str:
    """The URI of the version that `release` means now.

    A reference without a version means the champion. If the target has an output already, or one
    that was started, it means the release that made it, so that a newer champion does not score the
    same texts again. Raises what `find_release` raises.
    """
    reference = parse_model_reference(release)
    if reference.version is None:
        made_by = _find_release_of(parse_target(to))
        prefix = reference.store.uri(f"{reference.name}/")
        if made_by is not None and made_by.startswith(prefix):
            return made_by
    return find_release(release).uri


def _find_release_of(target: Target) -> str | None:
    manifest: Manifest | None = target.read_manifest()
    if manifest is not None:
        return str(manifest.content["release"])
    return read_model_uri(open_store(target.state))
