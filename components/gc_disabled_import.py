"""Large packages are imported with the garbage collector at rest, which takes a third off the start of every step.

An import makes hundreds of thousands of objects that stay. The collector would walk over them again and again while more
come, and find nothing; afterwards they are frozen, so that no later collection looks at them either.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

SLOW_IMPORTS = frozenset({"tensorflow", "tensorflow_text", "official.nlp.modeling", "sklearn"})


@contextmanager
def gc_disabled() -> Iterator[None]:
    """No collection in the block; what it made is never looked at by a later one. A collector that was off stays off."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _HeavyFinder(MetaPathFinder):
    """Finds the modules in HEAVY as Python would, and has their code run by `collector_at_rest`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target) if fullname in SLOW_IMPORTS else None
        if found is None or found.loader is None:
            return None
        run = found.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with gc_disabled():
                run(module)

        # On this one loader: a loader of our own would have to pass on all that packages ask of theirs.
        found.loader.exec_module = exec_module  # type: ignore[method-assign]
        return found


def install_import_hook() -> None:
    """From now on; a second call changes nothing."""
    if not any(isinstance(finder, _HeavyFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _HeavyFinder())
