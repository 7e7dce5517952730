"""`kubert doctor`: what is there and what is missing, one line each, with what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

COLOURS = {"ok": "green", "warning": "yellow", "missing": "red"}


def doctor(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            show_default=False,
            help="A YAML file, or a shipped configuration's name; without it, quickstart.",
        ),
    ] = "quickstart",
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster",
            help="Look at the cluster of the current context and at Kubeflow Pipelines, too.",
        ),
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.OPTION=VALUE", help="Change one option; may be repeated."
        ),
    ] = None,
    workdir: Annotated[
        Path, typer.Option(help="Where runs, reusable results and released models are kept.")
    ] = Path(".kubert"),
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.")
    ] = False,
) -> None:
    """Say what is there and what is missing for runs here and, with --cluster, on Kubernetes, each with its remedy.

    Ends with 0 when nothing is missing, with 1 otherwise; warnings are not missing. Writes nothing but a temporary object in each store.
    """
    from rich.console import Console
    from rich.text import Text

    from components.config.loading import load_config
    from pipeline import presets
    from pipeline.doctor import machine_checks, run_checks

    chosen = load_config(presets.find_preset(config), assignments or ())
    checks = machine_checks.build_checks(chosen, workdir.absolute())
    if cluster:
        from pipeline.doctor import cluster_checks

        checks += cluster_checks.build_checks(chosen)
    console = Console(stderr=as_json, highlight=False)
    found = []
    for name, finding in run_checks(checks):
        found.append(
            {
                "check": name,
                "state": finding.state,
                "found": finding.message,
                "remedy": finding.remedy,
            }
        )
        remedy = f". {finding.remedy[0].upper()}{finding.remedy[1:]}" if finding.remedy else ""
        line = Text.assemble(
            (f"{finding.state:<8}", COLOURS[finding.state]),
            f"{name:<20}",
            f"{finding.message}{remedy}",
        )
        console.print(line, soft_wrap=True)
    counts = {state: sum(item["state"] == state for item in found) for state in COLOURS}
    if as_json:
        typer.echo(
            json.dumps(
                {"missing": counts["missing"], "warnings": counts["warning"], "checks": found}
            )
        )
    else:
        warned = f", {counts['warning']} to look at" if counts["warning"] else ""
        console.print(f"{counts['missing'] or 'nothing'} missing{warned}")
    if counts["missing"]:
        raise typer.Exit(1)
