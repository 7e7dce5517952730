"""`python -m components.evaluate`: the evaluate verb from a command line, with the same arguments as `step.run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components import config
from components.errors import KubertError
from components.evaluate.step import run


def main() -> int:
    """Parse, run, and turn a KubertError into its message and exit code."""
    parser = argparse.ArgumentParser(prog="python -m components.evaluate", description="Token shards and a checkpoint in, report out.")
    parser.add_argument("--config", type=Path, help="YAML file with a section evaluate")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="SECTION.OPTION=VALUE")
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        options = config.load(arguments.config, arguments.assignments)
        run(options.evaluate, arguments.shards, arguments.checkpoint, arguments.output)
    except KubertError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
