"""`python -m components.evaluate`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from components.command import main
from components.config import Config
from components.evaluate.step import run


def _run(options: Config, paths: Mapping[str, Path]) -> None:
    run(options.evaluate, paths["shards"], paths["checkpoint"], paths["output"])


if __name__ == "__main__":
    sys.exit(
        main("evaluate", "Token shards and a checkpoint in, report out.", "a section evaluate", ["shards", "checkpoint", "output"], _run)
    )
