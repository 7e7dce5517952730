"""`python -m components.train`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from components.command import main
from components.config import Config
from components.train.step import run


def _run(options: Config, paths: Mapping[str, str]) -> None:
    run(options.model, options.train, paths["shards"], Path(paths["output"]), paths["scratch"], options.cluster)


if __name__ == "__main__":
    sys.exit(main("train", "Token shards in, checkpoint out.", "sections model, train and cluster", ["shards", "output", "scratch"], _run))
