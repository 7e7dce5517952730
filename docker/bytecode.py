"""Compiles the modules that importing the named ones brings in: `python bytecode.py MODULE...`.

The rest (most of what is installed) stays source: all bytecode would be twice as much. It is marked as valid without a look
at its source's time, which a reproducible image does not keep.
"""

import importlib
import py_compile
import sys
from pathlib import Path


def compile_imported(prefix: Path) -> int:
    """Write bytecode beside each module that is loaded and lies below `prefix`; returns how many."""
    files = {
        Path(file)
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None))
    }
    sources = [file for file in files if file.suffix == ".py" and file.is_relative_to(prefix)]
    for source in sources:
        py_compile.compile(
            str(source),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    return len(sources)


def main(names: list[str]) -> None:
    """Import all, then compile what that loaded."""
    sys.dont_write_bytecode = True
    for name in names:
        importlib.import_module(name)
    print(f"bytecode: {compile_imported(Path(sys.prefix))} modules")


if __name__ == "__main__":
    main(sys.argv[1:])
