"""A verb as a command: `python -m components.<verb>` takes the same options and directories as the verb's `run`."""

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
    verb: str,
    purpose: str,
    sections: str,
    paths: Sequence[str],
    run: Callable[[Config, Mapping[str, str]], object],
) -> int:
    """Parse, run, print what `run` returns unless it is None; a KubertError becomes its message and its exit code.

    `sections` names the configuration's sections that the verb reads; each of `paths` is a required option: a path, or a gs://, s3:// or
    minio:// address.
    """
    parser = argparse.ArgumentParser(prog=f"python -m components.{verb}", description=purpose)
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
        parser.add_argument(f"--{name}", required=True, metavar="PLACE")
    arguments = parser.parse_args()
    try:
        configure_logging(verbose=arguments.verbose)
        outcome = run(
            load_config(arguments.config, arguments.assignments),
            {name: getattr(arguments, name) for name in paths},
        )
    except KubertError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if outcome is not None:
        print(outcome)
    return 0
