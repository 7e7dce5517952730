"""`python -m components.tokenize_text`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from components.command import main
from components.config import Config
from components.tokenize_text.step import run


def _run(options: Config, paths: Mapping[str, str]) -> None:
    run(options.data, options.model, options.tokenize, Path(paths["output"]))


if __name__ == "__main__":
    sys.exit(main("tokenize_text", "Raw text in, token shards out.", "sections data, model and tokenize", ["output"], _run))
