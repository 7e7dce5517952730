"""`python -m components.tokenize_text`."""

import sys
from collections.abc import Mapping

from components.artifacts.staging import staged_output
from components.config.schema import Config
from components.step_command import run_step_command
from components.tokenize_text.step import run


def _run(options: Config, paths: Mapping[str, str]) -> None:
    with staged_output(paths["output"], "token_shards") as output:
        run(options.data, options.model, options.tokenize, output, options.task)


if __name__ == "__main__":
    sys.exit(
        run_step_command(
            "tokenize_text",
            "Raw text in, token shards out.",
            "sections task, data, model and tokenize",
            ["output"],
            _run,
        )
    )
