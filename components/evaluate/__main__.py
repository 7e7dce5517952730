"""`python -m components.evaluate`."""

import sys
from collections.abc import Mapping

from components.artifacts.staging import staged_input, staged_output
from components.config.schema import Config
from components.evaluate.step import run
from components.step_command import run_step_command


def _run(options: Config, places: Mapping[str, str]) -> None:
    with (
        staged_input(places["shards"], "token_shards") as shards,
        staged_input(places["checkpoint"], "checkpoint") as checkpoint,
        staged_output(places["output"], "report") as output,
    ):
        run(options.evaluate, shards, checkpoint, output)


if __name__ == "__main__":
    sys.exit(
        run_step_command(
            "evaluate",
            "Token shards and a checkpoint in, report out.",
            "a section evaluate",
            ["shards", "checkpoint", "output"],
            _run,
        )
    )
