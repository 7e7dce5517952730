from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from components import gc_disabled_import


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_the_block_runs_without_collections_and_its_objects_are_frozen() -> None:
    frozen = gc.get_freeze_count()
    with gc_disabled_import.gc_disabled():
        assert not gc.isenabled()
        made = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(made)


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with gc_disabled_import.gc_disabled():
        pass
    assert not gc.isenabled()


def test_the_collector_works_again_after_an_import_that_failed() -> None:
    with pytest.raises(ImportError), gc_disabled_import.gc_disabled():
        raise ImportError("broken")
    assert gc.isenabled()


def test_a_second_installation_changes_nothing() -> None:
    before = list(sys.meta_path)
    gc_disabled_import.install_import_hook()
    assert sys.meta_path == before


CODE = """
import gc, importlib.resources, inspect, json, {before}
collections = gc.get_stats()[0]["collections"]
import tensorflow
collections = gc.get_stats()[0]["collections"] - collections
assert tensorflow.__spec__.loader is tensorflow.__loader__ and gc.isenabled()
assert importlib.resources.files("tensorflow").joinpath("__init__.py").is_file()
assert inspect.getsource(tensorflow)
print(collections, gc.get_freeze_count())
"""


def run_import(before: str) -> tuple[int, int]:
    """Collections during an import of tensorflow, and frozen objects after it, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    )
    collections, frozen = done.stdout.split()
    return int(collections), int(frozen)


def test_importing_components_is_enough() -> None:
    collections, frozen = run_import("components")
    assert collections <= 1
    assert frozen > 10_000


def test_without_components_there_are_collections() -> None:
    collections, frozen = run_import("json")
    assert collections > 10
    assert frozen == 0
