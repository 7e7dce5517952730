"""The `kubert` command: registers the commands and turns errors into exit codes.

The commands import what they need when they run, so that `kubert --help` stays fast.
"""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
import traceback
from typing import Annotated

import typer

from components import __version__
from components.config.environment import ENV_DEBUG, ENV_LOG_LEVEL
from components.errors import USER_ERROR_CODES, ExitCode, KubertError
from pipeline.cli.commands import runs, schedule
from pipeline.cli.commands.compile import compile_pipeline
from pipeline.cli.commands.config import print_config
from pipeline.cli.commands.doctor import check_environment
from pipeline.cli.commands.releases import models
from pipeline.cli.commands.releases.explain import explain_texts
from pipeline.cli.commands.releases.predict import predict_texts
from pipeline.cli.commands.releases.pull import pull_model
from pipeline.cli.commands.releases.score import score_source
from pipeline.cli.commands.releases.serve import serve_model
from pipeline.cli.commands.run import run_pipeline
from pipeline.cli.commands.submit import submit_run

DEFAULT_LOG_LEVEL = "WARNING"
"""The terminal is for progress and results; the messages of the steps are in their log file."""

app = typer.Typer(
    name="kubert",
    help="From labelled text to a verified, servable BERT classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run_pipeline)
app.command("predict")(predict_texts)
app.command("score")(score_source)
app.command("explain")(explain_texts)
app.command("compile")(compile_pipeline)
app.command("config")(print_config)
app.command("doctor")(check_environment)
app.command("pull")(pull_model)
app.command("serve")(serve_model)
app.add_typer(models.app, name="models")
app.command("submit")(submit_run)
app.add_typer(runs.app, name="runs")
app.add_typer(schedule.app, name="schedule")


def _unwrap_help(group: typer.Typer) -> None:
    """Join the lines of each paragraph of the commands' docstrings; --help would break them."""
    for command in group.registered_commands:
        paragraphs = inspect.cleandoc(command.callback.__doc__ or "").split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for subgroup in group.registered_groups:
        if subgroup.typer_instance is not None:
            _unwrap_help(subgroup.typer_instance)


_unwrap_help(app)


@app.callback(invoke_without_command=True)
def set_global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Log debug messages, also of the steps, as with KUBERT_LOG_LEVEL=DEBUG.",
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of unexpected errors.")
    ] = False,
) -> None:
    if version:
        typer.echo(f"kubert {__version__}")
        raise typer.Exit
    if debug:
        os.environ[ENV_DEBUG] = "1"
    if verbose:
        # The steps and workers that this process starts inherit the level.
        os.environ[ENV_LOG_LEVEL] = "DEBUG"
    from components.logging_config import configure_logging

    configure_logging(None if os.environ.get(ENV_LOG_LEVEL) else DEFAULT_LOG_LEVEL)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with a code of `ExitCode`, never with a traceback."""
    try:
        app(arguments, standalone_mode=True)
    except KubertError as error:
        typer.secho(f"kubert: {error}", err=True)
        sys.exit(command_exit_code(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.FAILURE)
    except Exception as error:
        _report_unexpected_error(error)
        sys.exit(ExitCode.FAILURE)


def command_exit_code(error: KubertError) -> ExitCode:
    """The command's exit code: one for all mistakes of the user, whatever the step's own code."""
    if error.exit_code in USER_ERROR_CODES:
        return ExitCode.USER_ERROR
    if error.exit_code == ExitCode.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.FAILURE


def _report_unexpected_error(error: Exception) -> None:
    """Print the error in one line, and its traceback into a file (with --debug, to stderr)."""
    text = traceback.format_exc()
    if os.environ.get(ENV_DEBUG):
        typer.echo(text, err=True)
        return
    with tempfile.NamedTemporaryFile(
        "w", prefix="kubert-error-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        log.write(text)
    summary = str(error).splitlines()[0] if str(error) else ""
    typer.secho(
        f"kubert: unexpected {type(error).__name__}: {summary}\n"
        f"This is a bug in kubert; the traceback is in {log.name}",
        err=True,
    )


if __name__ == "__main__":
    main()
