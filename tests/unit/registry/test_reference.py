from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from components import registry
from components.artifacts.release import open_release
from components.errors import DataError, UsageError
from components.registry.reference import parse_model_reference, pull
from components.storage.store import open_store
from tests.support.releases.release_directories import markers, release_directory


@pytest.fixture
def models(tmp_path: Path) -> Path:
    store = open_store(str(tmp_path / "models"))
    for key in ("a", "b"):
        registry.publish(open_release(release_directory(tmp_path / key, key)), store, "news", key)
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("reference", "root", "name", "version"),
    [
        ("/srv/models/news", "/srv/models", "news", None),
        ("/srv/models/news/3/", "/srv/models", "news", 3),
        ("/srv/x/../models/news", "/srv/models", "news", None),
        ("file:///srv/models/news/12", "/srv/models", "news", 12),
        ("/srv/models/news@3", "/srv/models", "news", 3),
        ("/srv/a@b/news@12", "/srv/a@b", "news", 12),
    ],
)
def test_a_reference_names_store_model_and_version(
    reference: str, root: str, name: str, version: int | None
) -> None:
    model = parse_model_reference(reference)
    assert (model.store.uri(), model.name, model.version) == (root, name, version)


@pytest.mark.parametrize(
    "reference",
    [
        "gs://bucket",
        "s3://bucket/",
        "/",
        "/srv/models/.hidden",
        "/srv/news@",
        "/srv/news@x",
        "/srv/news@0",
        "/srv/news@1@2",
        "/srv/@3",
    ],
)
def test_a_reference_without_a_model_is_refused(reference: str) -> None:
    with pytest.raises(UsageError, match="write <store>/<model name>"):
        parse_model_reference(reference)


def test_the_newest_version_or_the_one_put_back_is_pulled(models: Path, tmp_path: Path) -> None:
    pulled = pull(str(models / "news"), tmp_path / "served")
    assert (pulled.content.version, pulled.directory) == (2, tmp_path / "served" / "2")
    registry.set_champion(open_store(str(models)), "news", 1)
    pulled = pull(str(models / "news"), tmp_path / "served")
    version, directory = pulled.content.version, pulled.directory
    assert (version, markers(directory)) == (1, {"a"})


def test_a_named_version_is_pulled_if_it_is_complete(models: Path, tmp_path: Path) -> None:
    assert pull(str(models / "news" / "1"), tmp_path / "served").content.version == 1
    with pytest.raises(DataError, match="no version 7; complete versions: 1, 2"):
        pull(str(models / "news" / "7"), tmp_path / "served")
    with pytest.raises(DataError, match="no version; nothing is released under this name"):
        pull(str(models / "sports"), tmp_path / "served")


def test_pulling_needs_no_tensorflow() -> None:
    code = (
        "import sys; import components.registry.reference, components.serving.puller; "
        "sys.exit(bool({'tensorflow', 'numpy', 'pyarrow', 'typer'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
