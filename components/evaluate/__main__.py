"""`python -m components.evaluate`."""

import sys
from collections.abc import Mapping

from components.artifacts.staging import staged_input, staged_output
from components.config.schema import Config
from components.evaluate.step import run
from components.step_command import run_step_command


def _run_evaluate(options: Config, uris: Mapping[str, str]) -> None:
    with (
        staged_input(uris["shards"], "token_shards") as shards,
        staged_input(uris["checkpoint"], "checkpoint") as checkpoint,
        staged_output(uris["output"], "report") as output,
    ):
        calibrate = options.export.calibrate
        run(options.evaluate, shards, checkpoint, output, calibrate=calibrate)


if __name__ == "__main__":
    sys.exit(
        run_step_command(
            "evaluate",
            "Token shards and a checkpoint in, report out.",
            "sections evaluate and export",
            ["shards", "checkpoint", "output"],
            _run_evaluate,
        )
    )
