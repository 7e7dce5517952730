"""`python -m components.gate`."""

import sys
from collections.abc import Mapping

from components.artifacts.staging import staged_input, staged_output
from components.config.schema import Config
from components.gate.step import run
from components.step_command import run_step_command


def _run(options: Config, places: Mapping[str, str]) -> str:
    with (
        staged_input(places["shards"], "token_shards") as shards,
        staged_input(places["report"], "report") as report,
        staged_output(places["output"], None) as output,
    ):
        return run(options.evaluate, options.export, shards, report, output).reason


if __name__ == "__main__":
    sections, needed = "sections evaluate and export", ["shards", "report", "output"]
    sys.exit(
        run_step_command(
            "gate",
            "A report in, the decision about its checkpoint out; prints the reason.",
            sections,
            needed,
            _run,
        )
    )
