"""`kubert pull`: a release from a store to a directory, once or for as long as a server runs beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def pull(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="STORE/NAME[@VERSION]",
            help="What to pull; without a version, the champion. gs:// and s3:// too.",
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="A model server's directory; DIR/<version> appears in it, whole and verified.",
        ),
    ],
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Go on: follow new releases and rollbacks, looking this often, until SIGTERM.",
        ),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(
            metavar="N", help="With --watch: versions below the served one that stay in DIR."
        ),
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Without --watch: one JSON object on standard output.")
    ] = False,
) -> None:
    """Bring a released model to a directory, every file verified; with --watch, keep the directory at what is in force.

    A server that serves the highest version in DIR, as TensorFlow Serving does, always finds a whole one: the one in force.
    """
    from components.errors import UsageError
    from components.serving import puller as pulling

    def say(line: str) -> None:
        typer.echo(line, err=as_json)

    if watch is not None:
        if as_json:
            raise UsageError(
                "--json tells the outcome, and --watch has none; leave one of them out"
            )
        pulling.follow(reference, to, watch, keep, say)
        return
    version, directory, manifest = pulling.once(reference, to, say)
    if as_json:
        size = sum(entry.size for entry in manifest.files.values())
        typer.echo(
            json.dumps(
                {
                    "name": manifest.content["name"],
                    "version": version,
                    "directory": str(directory),
                    "bytes": size,
                    "sha256": manifest.digest,
                }
            )
        )
