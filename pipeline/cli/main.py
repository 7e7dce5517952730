"""The `kubert` command: it reads what a person typed, calls one function per command and turns errors into exit codes.

0: done; 3: the gate closed, nothing was released; 2: a mistake in what was given; 130: interrupted; 1: anything else.
What the commands need is imported inside them, so that `kubert --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from components import __version__
from components.config.environment import ENV_DEBUG
from components.errors import USER_ERROR_CODES, ExitCode, KubertError
from pipeline.cli.commands import models, runs, schedule
from pipeline.cli.commands.doctor import doctor
from pipeline.cli.commands.pull import pull
from pipeline.cli.commands.serve import serve
from pipeline.cli.commands.submit import submit

app = typer.Typer(
    name="kubert",
    help="From labelled text to a verified, servable BERT classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.OPTION=VALUE", help="Change one option; may be repeated."
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON object as the last line of standard output; progress goes to standard error.",
    ),
]
ConfigName = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        show_default=False,
        help="A YAML file, or a shipped configuration's name; without it, quickstart.",
    ),
]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
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


@app.command()
def run(
    config: ConfigName = "quickstart",
    assignments: Set = None,
    workdir: Annotated[
        Path, typer.Option(help="Where runs, reusable results and released models are kept.")
    ] = Path(".kubert"),
    as_json: Json = False,
) -> None:
    """Run the whole pipeline on this machine: tokenize, train, evaluate, gate, export.

    Steps that an earlier run in the same work directory has done with the same inputs, options and code are reused.
    """
    from rich.console import Console
    from rich.text import Text

    from components.config.loading import load_config
    from pipeline import parameters, presets
    from pipeline.cli.progress_bar import ProgressView
    from pipeline.cli.run_summary import summarize
    from pipeline.local import inputs, runner

    chosen = inputs.resolve_paths(
        load_config(presets.find_preset(config), assignments or ()), workdir.absolute()
    )
    console = Console(stderr=as_json, highlight=False)
    with runner.create_run(workdir.absolute()) as this:
        arguments = {
            **parameters.build_arguments(chosen),
            "fingerprint": inputs.compute_fingerprint(chosen),
            "scratch": str(this.state_directory),
        }
        console.print(
            Text(f"kubert {__version__}, {config}; log: {this.log}", style="dim"), soft_wrap=True
        )
        with ProgressView(console) as view:
            outcome = runner.execute_pipeline(this, arguments, view.show)
        if outcome.failure:
            raise _StepFailed(
                outcome.failure.step, outcome.failure.message, outcome.failure.exit_code, this.log
            )
        summary = summarize(this, outcome)
    summary.show(console)
    if as_json:
        typer.echo(summary.as_json())
    if not summary.gate["passed"]:
        raise typer.Exit(ExitCode.GATE_CLOSED)


@app.command()
def predict(
    release: Annotated[
        str,
        typer.Argument(
            help="A version's directory as `kubert run` prints it, or STORE/NAME or STORE/NAME/VERSION, gs:// and s3:// too."
        ),
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT", help="Texts to classify; - or nothing: one per line of standard input."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per text: text, label, scores.")
    ] = False,
) -> None:
    """Classify texts with a released model."""
    from components.serving.predict import predict as answers

    lines: Iterable[str] = (
        texts if texts and texts != ["-"] else (line.rstrip("\n") for line in sys.stdin)
    )
    for answer in answers(release, lines):
        if as_json:
            typer.echo(
                json.dumps({"text": answer.text, "label": answer.label, "scores": answer.scores})
            )
        else:
            typer.echo(f"{answer.label}\t{answer.scores[answer.label]:.4f}\t{answer.text}")


@app.command()
def compile(
    config: ConfigName = "quickstart",
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "pipeline.yaml"
    ),
    assignments: Set = None,
) -> None:
    """Write the pipeline as YAML for a Kubeflow server, with a configuration's values as its parameters' defaults."""
    from components.config.loading import load_config
    from pipeline import definition, images, parameters, presets

    chosen = load_config(presets.find_preset(config), assignments or ())
    chosen = chosen.model_copy(update={"cluster": images.resolve_images(chosen.cluster)})
    _refuse_unwritable(output)
    definition.compile_pipeline(output, parameters.build_arguments(chosen), chosen.cluster)
    typer.echo(f"wrote {output}")


@app.command()
def config(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            help="A YAML file, or a shipped configuration's name.",
        ),
    ] = "quickstart",
) -> None:
    """Print a configuration with every option, its unit, default and one line of help; save it and give it to `kubert run`."""
    from components.config.loading import load_config
    from pipeline import presets

    path = presets.find_preset(name)
    notes = f"Where a value is not the default, the default stands beside it. Shipped configurations: {', '.join(presets.list_presets())}."
    typer.echo(
        presets.render_config(
            load_config(path), f"{presets.read_preset_comment(name)}\n\n{notes}".strip()
        ),
        nl=False,
    )


app.command()(doctor)
app.command()(pull)
app.command()(serve)
app.add_typer(models.app, name="models")
app.command()(submit)
app.add_typer(runs.app, name="runs")
app.add_typer(schedule.app, name="schedule")


class _StepFailed(KubertError):
    """A step of the run ended with an error of its own."""

    def __init__(self, step: str, message: str, exit_code: int, log: Path) -> None:
        super().__init__(f"{step}: {message}\nlog: {log}")
        self.exit_code = exit_code


def _refuse_unwritable(output: Path) -> None:
    from components.errors import UsageError

    if (
        output.is_dir()
        or not output.absolute().parent.is_dir()
        or output.suffix not in (".yaml", ".yml")
    ):
        raise UsageError(f"--output {output}: must be a .yaml file in a directory that exists")


def main(arguments: list[str] | None = None) -> None:
    """The command's entry: ends the process with one of the exit codes above, never with a traceback."""
    try:
        app(arguments, standalone_mode=True)
    except KubertError as error:
        typer.secho(f"kubert: {error}", err=True)
        sys.exit(ExitCode.USER_ERROR if error.exit_code in USER_ERROR_CODES else _exit_code(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.FAILURE)
    except Exception as error:
        sys.exit(_unexpected(error))


def _exit_code(error: KubertError) -> int:
    from pipeline.local.runner import RunInterruptedError

    return error.exit_code if isinstance(error, RunInterruptedError) else ExitCode.FAILURE


def _unexpected(error: Exception) -> int:
    text = traceback.format_exc()
    if os.environ.get(ENV_DEBUG):
        typer.echo(text, err=True)
        return ExitCode.FAILURE
    with tempfile.NamedTemporaryFile(
        "w", prefix="kubert-error-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        log.write(text)
    summary: Any = str(error).splitlines()[0] if str(error) else ""
    typer.secho(
        f"kubert: unexpected {type(error).__name__}: {summary}\nThis is a defect in kubert; the traceback is in {log.name}",
        err=True,
    )
    return ExitCode.FAILURE


if __name__ == "__main__":
    main()
