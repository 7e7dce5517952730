"""`kubert serve`: TensorFlow Serving's REST API on this machine, for a look at a model and for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Versions as `kubert pull` or `kubert run` leave them (DIR/1, DIR/2, ...), or one release.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            help="The model's name in addresses; without it, the one it was released under."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 answers other machines, too.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0: a free one.")
    ] = 8501,
) -> None:
    """Answer TensorFlow Serving's REST calls with the version in force in DIR; a new one takes over as soon as it is there.

    The files and the operations of a release are verified before it is loaded. Texts are not logged.
    """
    from components.errors import UsageError

    if not directory.is_dir():
        raise UsageError(
            f"{directory}: no such directory; give one with versions (1, 2, ...), or pull one: kubert pull STORE/NAME --to DIR"
        )
    if name is not None and (not name or set(name) & set("/:")):
        raise UsageError(f"--name {name!r}: must be some letters, without / and :")
    typer.echo(f"loading the model in {directory}")
    from components.serving.rest_server import serve as answer

    answer(directory, name, host, port, typer.echo)
