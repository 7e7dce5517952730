"""`python -m components.gate`: runs the gate step as a command."""

import sys
from collections.abc import Mapping

from components.artifacts.staging import staged_input, staged_output
from components.config.schema import Config
from components.gate.step import run
from components.step_command import run_step_command


def _run_step(config: Config, uris: Mapping[str, str]) -> str:
    with (
        staged_input(uris["shards"], "token_shards") as shards,
        staged_input(uris["report"], "report") as report,
        staged_output(uris["output"], None) as output,
    ):
        return run(config.evaluate, config.export, shards, report, output).reason


if __name__ == "__main__":
    sys.exit(
        run_step_command(
            "gate",
            "Decide from a report whether its checkpoint may be released; prints the reason.",
            "sections evaluate and export",
            ["shards", "report", "output"],
            _run_step,
        )
    )
