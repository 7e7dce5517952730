"""Imports TensorFlow and other slow packages with the garbage collector disabled.

An import creates hundreds of thousands of objects that stay alive. The collector would traverse
them again and again while more are created, and free nothing; disabling it saves a third of the
start-up time of every step. Afterwards the objects are frozen, so that no later collection
traverses them either.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

SLOW_IMPORTS = frozenset({"tensorflow", "tensorflow_text", "official.nlp.modeling"})


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Disable collections in the block, and exclude the objects it created from later ones.

    A collector that was disabled before stays disabled.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _SlowImportFinder(MetaPathFinder):
    """Finds the modules in SLOW_IMPORTS as Python would, and executes them in `gc_disabled`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in SLOW_IMPORTS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        original_exec_module = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with gc_disabled():
                original_exec_module(module)

        # The method of this one loader is replaced: a loader of our own would have to forward
        # everything that packages ask of theirs.
        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install_import_hook() -> None:
    """Disable the collector during these imports from now on; a second call changes nothing."""
    if not any(isinstance(finder, _SlowImportFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _SlowImportFinder())
