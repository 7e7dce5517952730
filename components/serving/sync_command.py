"""What the commands that sync a directory share: options, logging and exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from components.errors import ExitCode, KubertError
from components.logging_config import configure_logging


def run_sync_command(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], object]
) -> int:
    """Parse the command line with --to, --watch and --verbose added, and run; the exit code.

    A KubertError ends the command with its message and its exit code.
    """
    parser.add_argument(
        "--to", required=True, type=Path, metavar="DIR", help="the directory to write to"
    )
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="repeat at this interval, until SIGTERM"
    )
    parser.add_argument("--verbose", action="store_true", help="log debugging messages as well")
    arguments = parser.parse_args()
    try:
        configure_logging(verbose=arguments.verbose)
        run(arguments)
    except KubertError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return ExitCode.SUCCESS
