"""`kubert doctor`: checks what a run needs, one line per check, each problem with its remedy."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import ExitCode, UsageError
from pipeline.cli.options import (
    DEFAULT_CONFIG,
    DEFAULT_WORKDIR,
    Assignments,
    ConfigName,
    JsonOutput,
    Workdir,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.doctor import Finding

STATE_COLOURS = {"ok": "green", "warning": "yellow", "missing": "red"}


def check_environment(
    config: ConfigName = DEFAULT_CONFIG,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster",
            help="Also check the cluster of the current context, and Kubeflow Pipelines.",
        ),
    ] = False,
    probe_store: Annotated[
        bool,
        typer.Option(
            "--probe-store",
            help="With --cluster: try the stores from a pod in the namespace of runs, which is "
            "deleted again.",
        ),
    ] = False,
    assignments: Assignments = None,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: JsonOutput = False,
) -> None:
    """Check what runs need on this machine and, with --cluster, on Kubernetes.

    Exits with 0 if nothing is missing, with 1 otherwise; warnings do not count as missing. Writes
    nothing but a temporary object in each store, and with --probe-store a pod.
    """
    from pipeline import presets
    from pipeline.cli.tables import create_console, print_json
    from pipeline.doctor import machine_checks, run_checks

    if probe_store and not cluster:
        raise UsageError("--probe-store tries the stores from a pod; give --cluster, too")
    settings = presets.load_preset(config, assignments)
    checks = machine_checks.build_checks(settings, workdir.absolute())
    if cluster:
        from pipeline.doctor import cluster_checks

        checks += cluster_checks.build_checks(settings, probe_store=probe_store)
    console = create_console(to_stderr=as_json)
    findings = []
    for name, finding in run_checks(checks):
        findings.append((name, finding))
        _print_finding(console, name, finding)
    counts = Counter(finding.state for _, finding in findings)
    if as_json:
        rows = [
            {"check": name, "state": each.state, "found": each.message, "remedy": each.remedy}
            | ({"details": each.details} if each.details else {})
            for name, each in findings
        ]
        print_json({"missing": counts["missing"], "warnings": counts["warning"], "checks": rows})
    else:
        number = counts["warning"]
        warnings = f", {number} warning{'s' if number > 1 else ''}" if number else ""
        console.print(f"{counts['missing'] or 'nothing'} missing{warnings}")
    if counts["missing"]:
        raise typer.Exit(ExitCode.FAILURE)


def _print_finding(console: Console, name: str, finding: Finding) -> None:
    from rich.text import Text

    state = (f"{finding.state:<8}", STATE_COLOURS[finding.state])
    console.print(Text.assemble(state, f"{name:<20}{finding.text}"), soft_wrap=True)
