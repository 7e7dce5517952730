"""`python -m components.evaluate`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from components.command import main
from components.config import Config
from components.evaluate.step import run

_PATHS = ("shards", "checkpoint", "output")


def _run(options: Config, paths: Mapping[str, str]) -> None:
    run(options.evaluate, *(Path(paths[name]) for name in _PATHS))


if __name__ == "__main__":
    sys.exit(main("evaluate", "Token shards and a checkpoint in, report out.", "a section evaluate", _PATHS, _run))
