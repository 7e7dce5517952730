"""`python -m components.export`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from components.command import main
from components.config import Config
from components.export.step import run

_PATHS = ("shards", "checkpoint", "report", "decision")


def _run(options: Config, paths: Mapping[str, str]) -> str:
    return str(run(options.export, *(Path(paths[name]) for name in _PATHS)).path)


if __name__ == "__main__":
    sys.exit(
        main(
            "export",
            "A checkpoint that passed the gate in; prints the release's path.",
            "a section export",
            _PATHS,
            _run,
        )
    )
