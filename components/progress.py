"""Progress events: what a step tells the person who waits for it, as JSON lines.

A step calls `report`; whoever started it reads the file that the environment variable KUBERT_PROGRESS names. Without
that variable the events go to standard output, one line each, as a pod's log.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from components.config.environment import ENV_PROGRESS


def report(
    step: str,
    message: str = "",
    *,
    done: float | None = None,
    total: float | None = None,
    **values: Any,
) -> None:
    """Append one event; never raises because of a full or missing progress file.

    `step` is the verb (tokenize, train, evaluate, gate, export); `done` of `total` are in the step's own unit; `values`
    are figures to show beside the bar, such as loss=0.31, accuracy=0.91, examples_per_second=120.0, seconds_left=33.0.
    """
    event = {
        "time": round(time.time(), 3),
        "step": step,
        "message": message,
        "done": done,
        "total": total,
        **values,
    }
    line = json.dumps({key: value for key, value in event.items() if value not in (None, "")})
    path = os.environ.get(ENV_PROGRESS)
    if not path:
        print(line, file=sys.stdout, flush=True)
        return
    try:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError:
        pass
