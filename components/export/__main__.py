"""`python -m components.export`: runs the export step as a command."""

import sys
from collections.abc import Mapping

from components.artifacts.staging import staged_input
from components.config.schema import Config
from components.export.step import run
from components.step_command import run_step_command


def _run_step(config: Config, uris: Mapping[str, str]) -> str:
    with (
        staged_input(uris["shards"], "token_shards") as shards,
        staged_input(uris["checkpoint"], "checkpoint") as checkpoint,
        staged_input(uris["report"], "report") as report,
        staged_input(uris["decision"], None) as decision,
    ):
        return run(config.export, shards, checkpoint, report, decision).uri


if __name__ == "__main__":
    sys.exit(
        run_step_command(
            "export",
            "Publish a checkpoint that passed the gate; prints the release's path or URI.",
            "a section export",
            ["shards", "checkpoint", "report", "decision"],
            _run_step,
        )
    )
