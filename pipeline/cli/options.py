"""Arguments and options that several commands share, each defined once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

DEFAULT_CONFIG = "quickstart"
DEFAULT_WORKDIR = Path(".kubert")

ConfigName = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        show_default=False,
        help="A YAML file, or the name of a shipped configuration (default: quickstart).",
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.OPTION=VALUE", help="Change one option; can be repeated."
    ),
]
Workdir = Annotated[
    Path, typer.Option(help="Directory of runs, reusable step results and released models.")
]
JsonOutput = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON value on standard output; messages go to standard error."
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        show_default=False,
        help="Cross-validate: train K models, each without one of K parts of the rows, which tests "
        "it. Nothing is released, unless --release is given.",
    ),
]
ParallelFolds = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        show_default=False,
        help="With --folds: at most N folds at a time.",
    ),
]
RunKey = Annotated[
    str | None,
    typer.Option(help="Name of the run; submitting again with the same key creates no second run."),
]
WaitForRun = Annotated[
    bool,
    typer.Option(
        "--wait", help="Wait for the run and show its steps; exit with the codes of `kubert run`."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Check everything and show the request; change nothing."),
]
AllowTags = Annotated[
    bool,
    typer.Option("--allow-tags", help="Accept images without a digest, whose content can change."),
]


SkipCheck = Annotated[
    bool,
    typer.Option(
        "--skip-check",
        help="Send without checking that accounts, secrets, JobSet, queue and quota are there.",
    ),
]


@dataclass(frozen=True)
class ServerOptions:
    """The options that say where Kubeflow Pipelines is.

    None leaves a value to the environment variable, then to the configuration.
    """

    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="CONFIG",
            help="A configuration whose `cluster` section names the server.",
        ),
    ] = None
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="Address of the Kubeflow Pipelines API (or KUBERT_ENDPOINT, cluster.endpoint)."
        ),
    ] = None
    namespace: Annotated[
        str | None,
        typer.Option(help="Namespace of the runs (or KUBERT_NAMESPACE, cluster.namespace)."),
    ] = None
    experiment: Annotated[
        str | None,
        typer.Option(help="Experiment of the runs (or KUBERT_EXPERIMENT, cluster.experiment)."),
    ] = None


class PipelineName(StrEnum):
    """The pipelines that are compiled, and can be scheduled."""

    TRAIN = "train"
    SCORE = "score"


Command = Callable[..., None]


def with_server_options(*, config_option: bool = True) -> Callable[[Command], Command]:
    """Decorate a command with a parameter `server: ServerOptions`, for Typer.

    Typer sees the fields of ServerOptions as options, the command receives the object. Without
    `config_option` there is no --config, for commands whose argument is the configuration.
    """
    hints = get_type_hints(ServerOptions, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(ServerOptions)
        if config_option or field.name != "config"
    ]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call_command(**arguments: object) -> None:
            server = {option.name: arguments.pop(option.name) for option in options}
            command(server=ServerOptions(**server), **arguments)  # type: ignore[arg-type]

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if parameter.name == "server":
                parameters += options
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        call_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call_command.__annotations__ = {each.name: each.annotation for each in parameters}
        return call_command

    return decorate
