"""Compiles all modules that an import of the named ones loads: `python bytecode.py MODULE...`.

All other modules (most of what is installed) stay source: bytecode would double their size. The
bytecode is marked as valid whatever its source's time is, which a reproducible image does not keep.
"""

import importlib
import py_compile
import sys
from pathlib import Path


def compile_imported(prefix: Path) -> int:
    """Write bytecode beside each loaded module below `prefix`; return how many there are."""
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
    """Import the named modules, then compile what that loaded."""
    sys.dont_write_bytecode = True
    for name in names:
        importlib.import_module(name)
    print(f"bytecode: {compile_imported(Path(sys.prefix))} modules")


if __name__ == "__main__":
    main(sys.argv[1:])
