"""`python -m components.tokenize_text`: the tokenize verb from a command line, with the same arguments as `step.run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components import config
from components.errors import KubertError
from components.tokenize_text.step import run


def main() -> int:
    """Parse, run, and turn a KubertError into its message and exit code."""
    parser = argparse.ArgumentParser(prog="python -m components.tokenize_text", description="Raw text in, token shards out.")
    parser.add_argument("--config", type=Path, help="YAML file with sections data, model and tokenize")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="SECTION.OPTION=VALUE")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        options = config.load(arguments.config, arguments.assignments)
        run(options.data, options.model, options.tokenize, arguments.output)
    except KubertError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
