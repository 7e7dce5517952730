"""The model registry in object storage: publish, champion, rollback, pull (see README.md)."""

from components.registry.champion import find_champion, set_champion
from components.registry.listing import list_models, list_versions
from components.registry.registry import (
    PublishedVersion,
    find_published,
    publish,
    pull_version,
)

__all__ = [
    "PublishedVersion",
    "find_champion",
    "find_published",
    "list_models",
    "list_versions",
    "publish",
    "pull_version",
    "set_champion",
]
