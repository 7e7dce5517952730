"""`python -m components.train`."""

import sys
from collections.abc import Mapping

from components.artifacts.staging import staged_output
from components.config.evaluate import list_minimum_classes
from components.config.schema import Config
from components.step_command import run_step_command
from components.train.step import run


def _run(options: Config, paths: Mapping[str, str]) -> None:
    with staged_output(paths["output"], "checkpoint") as output:
        run(
            options.model,
            options.train,
            paths["shards"],
            output,
            paths["scratch"],
            options.cluster,
            list_minimum_classes(options.evaluate),
        )


if __name__ == "__main__":
    sys.exit(
        run_step_command(
            "train",
            "Token shards in, checkpoint out.",
            "sections model, train, evaluate and cluster",
            ["shards", "output", "scratch"],
            _run,
        )
    )
