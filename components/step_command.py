"""Runs a step from the command line: `python -m components.<step> --<input> ... --<output> ...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.config.loading import load_config
from components.config.schema import Config
from components.errors import KubertError
from components.logging_config import configure_logging


def run_step_command(
    step: str,
    description: str,
    sections: str,
    paths: Sequence[str],
    run: Callable[[Config, Mapping[str, str]], object],
) -> int:
    """Parse the command line, run the step, print its result unless it is None; the exit code.

    `sections` names the sections of the configuration that the step reads. Each of `paths` is a
    required option: a path, or a gs://, s3:// or minio:// URI. A KubertError ends the command with
    its message and its exit code.
    """
    parser = argparse.ArgumentParser(prog=f"python -m components.{step}", description=description)
    parser.add_argument("--config", type=Path, help=f"YAML file with {sections}")
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="SECTION.OPTION=VALUE",
        help="change one option",
    )
    parser.add_argument("--verbose", action="store_true", help="log debugging messages as well")
    for name in paths:
        parser.add_argument(f"--{name}", required=True, metavar="PATH_OR_URI")
    arguments = parser.parse_args()
    try:
        configure_logging(verbose=arguments.verbose)
        result = run(
            load_config(arguments.config, arguments.assignments),
            {name: getattr(arguments, name) for name in paths},
        )
    except KubertError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if result is not None:
        print(result)
    return 0
