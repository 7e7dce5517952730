"""`kubert serve`: TensorFlow Serving's REST API on this machine, to try out a model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def serve_model(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Versions (DIR/1, DIR/2, ...) as `kubert pull` and `kubert run` write them, "
            "or one release.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="The model's name in URLs; by default the name it was released under."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 accepts other machines.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")
    ] = 8501,
) -> None:
    """Serve the newest version in DIR over TensorFlow Serving's REST API.

    A new version takes over as soon as it is complete. A release's files and graph operations are
    verified before it is loaded. Texts are not logged.
    """
    from components.errors import UsageError

    if not directory.is_dir():
        raise UsageError(
            f"{directory}: no such directory; give one with versions (1, 2, ...), "
            "or pull one: kubert pull STORE/NAME --to DIR"
        )
    if name is not None and (not name or set(name) & set("/:")):
        raise UsageError(f"--name {name!r}: must not be empty or contain / or :")
    from components.serving.model_directory import find_models_below, select_served_version

    if models := find_models_below(directory):
        commands = "; ".join(
            f"kubert serve {shlex.quote(str(directory / each))}" for each in models
        )
        raise UsageError(
            f"{directory}: is a registry, of which one model is served; choose it: {commands}"
        )
    select_served_version(directory)  # refused here, before TensorFlow is imported
    typer.echo(f"loading the model in {directory}")
    from components.logging_config import configure_logging
    from components.serving.rest_server import serve

    configure_logging()
    serve(directory, name, host, port)
