"""Records how long imports take, in a process that has this directory on PYTHONPATH.

The records are JSON lines in the file that KUBERT_IMPORT_TIMES names.

Only outermost imports of more than a millisecond are recorded, with their start times. They are
written at once, not at exit, because a worker exits without running exit handlers.
"""

import builtins
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_SHORTEST = 0.001
_state = threading.local()


def _time_import(function: Callable[..., Any], path: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if getattr(_state, "inside", False):
            return function(*arguments, **options)
        _state.inside, began = True, time.time()
        try:
            return function(*arguments, **options)
        finally:
            _state.inside = False
            if (seconds := time.time() - began) > _SHORTEST:
                event = {
                    "pid": os.getpid(),
                    "began": began,
                    "seconds": seconds,
                    "name": arguments[0],
                    "program": " ".join(sys.argv[:2]),
                }
                with open(path, "a", encoding="utf-8") as stream:
                    stream.write(json.dumps(event) + "\n")

    return call


if target := os.environ.get("KUBERT_IMPORT_TIMES"):
    builtins.__import__ = _time_import(builtins.__import__, target)
    importlib.import_module = _time_import(importlib.import_module, target)
