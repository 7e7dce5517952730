"""`kubert pull`: downloads a release, once or repeatedly beside a model server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import JsonOutput


def pull_model(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="STORE/NAME[@VERSION]",
            help="A released model; without a version, the champion. A path, gs:// or s3://.",
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="A model server's directory; the release is put into DIR/<version>."
        ),
    ],
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Follow new releases and rollbacks, polling at this interval, until SIGTERM.",
        ),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(
            metavar="N", help="With --watch: older versions to keep in DIR besides the served one."
        ),
    ] = 1,
    as_json: JsonOutput = False,
) -> None:
    """Download a released model and verify every file.

    With --watch, DIR follows the champion: a server that serves the highest version in DIR, as
    TensorFlow Serving does, always finds a complete one. --json cannot be combined with --watch.
    """
    from components.errors import UsageError
    from components.logging_config import configure_logging
    from components.serving import puller
    from pipeline.cli.tables import print_json

    def report(line: str) -> None:
        typer.echo(line, err=as_json)

    if watch is not None:
        if as_json:
            raise UsageError("--json prints a result, which --watch never has; use only one")
        configure_logging()
        puller.sync_until_stopped(reference, to, watch, keep)
        return
    release = puller.pull_once(reference, to, report)
    if as_json:
        print_json(
            {
                "name": release.content.name,
                "version": release.content.version,
                "directory": str(release.directory),
                "bytes": sum(entry.size for entry in release.manifest.files.values()),
                "sha256": release.digest,
            }
        )
