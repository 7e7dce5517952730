"""`python -m components.export`: the export verb from a command line, with the same arguments as `step.run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components import config
from components.errors import KubertError
from components.export.step import run


def main() -> int:
    """Parse, run, print the release's path, and turn a KubertError into its message and exit code."""
    parser = argparse.ArgumentParser(prog="python -m components.export", description="A checkpoint that passed the gate in, a release out.")
    parser.add_argument("--config", type=Path, help="YAML file with a section export")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="SECTION.OPTION=VALUE")
    for name in ("shards", "checkpoint", "report", "decision"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        options = config.load(arguments.config, arguments.assignments)
        print(run(options.export, arguments.shards, arguments.checkpoint, arguments.report, arguments.decision).path)
    except KubertError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
