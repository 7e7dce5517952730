"""`python -m components.export`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from components.command import main
from components.config import Config
from components.export.step import run


def _run(options: Config, paths: Mapping[str, Path]) -> str:
    return str(run(options.export, paths["shards"], paths["checkpoint"], paths["report"], paths["decision"]).path)


if __name__ == "__main__":
    sys.exit(
        main(
            "export",
            "A checkpoint that passed the gate in; prints the release's path.",
            "a section export",
            ["shards", "checkpoint", "report", "decision"],
            _run,
        )
    )
