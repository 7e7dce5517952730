"""`python -m components.export`."""

import sys
from collections.abc import Mapping

from components.artifacts.staging import staged_input
from components.config.schema import Config
from components.export.step import run
from components.step_command import run_step_command


def _run(options: Config, places: Mapping[str, str]) -> str:
    with (
        staged_input(places["shards"], "token_shards") as shards,
        staged_input(places["checkpoint"], "checkpoint") as checkpoint,
        staged_input(places["report"], "report") as report,
        staged_input(places["decision"], None) as decision,
    ):
        return run(options.export, shards, checkpoint, report, decision).path


if __name__ == "__main__":
    sys.exit(
        run_step_command(
            "export",
            "A checkpoint that passed the gate in; prints the release's path.",
            "a section export",
            ["shards", "checkpoint", "report", "decision"],
            _run,
        )
    )
