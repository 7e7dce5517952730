"""Lists the models of a store, and the versions of a model."""

from __future__ import annotations

from typing import Any

from components import registry
from components.artifacts.release import ReleaseContent
from components.errors import DataError, UsageError
from components.registry import version_info
from components.registry.reference import ModelReference, parse_model_reference
from components.registry.version_info import VersionInfo
from components.storage.store import open_store


def models(location: str) -> list[dict[str, Any]]:
    """The models of a store, or the versions of a model, newest first; the rows are dictionaries.

    `location` is STORE or STORE/NAME; a path, gs:// or s3://. DataError if nothing is released
    there.
    """
    if (model := _find_model(location)) is not None:
        versions = version_info.list_version_info(model.store, model.name)
        return [_version_row(version) for version in reversed(versions)]
    return _model_rows(location)


def _find_model(location: str) -> ModelReference | None:
    """The model at `location`; None if it is not a model's name or has no version."""
    try:
        model = parse_model_reference(location)
    except UsageError:
        return None
    if model.version is not None:
        raise UsageError(f"{location}: this is one version; show it: kubert models show {location}")
    return model if registry.list_versions(model.store, model.name) else None


def _model_rows(location: str) -> list[dict[str, Any]]:
    """One row per model in the store at `location`; DataError if it has none."""
    store = open_store(location.rstrip("/") or "/")
    names = registry.list_models(store)
    if not names:
        raise DataError(
            f"{store.uri()}: nothing is released here; "
            "give STORE or STORE/NAME as `kubert run` prints it"
        )
    rows = []
    for name in names:
        versions = version_info.list_version_info(store, name)
        champion = next(version for version in versions if version.champion)
        rows.append(
            {
                "name": name,
                "versions": len(versions),
                "served": champion.number,
                **_metadata_columns(champion),
            }
        )
    return rows


def _version_row(version: VersionInfo) -> dict[str, Any]:
    return {
        "version": version.number,
        "champion": version.champion,
        **_metadata_columns(version),
    }


def _metadata_columns(version: VersionInfo) -> dict[str, Any]:
    content = version.content
    columns = {
        "released": version.released_at or None,
        **_quality_columns(content),
        "encoder": content and content.encoder,
        "run": version.run or None,
        "data": version.data or None,
    }
    return {**columns, "problem": version.problem} if version.problem else columns


def _quality_columns(content: ReleaseContent | None) -> dict[str, Any]:
    """The main metric of the kind of task with its interval; the kind, if it is not single labels.

    The columns of a version whose manifest is damaged are those of single labels.
    """
    name, value, low, high = content.main_metric if content else ("accuracy", None, None, None)
    kind = {} if content is None or name == "accuracy" else {"task": content.task.kind}
    return {**kind, name: value, f"{name}_low": low, f"{name}_high": high}
