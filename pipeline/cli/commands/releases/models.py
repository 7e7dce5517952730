"""`kubert models`: lists the versions in a model registry, shows one, and rolls back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.options import JsonOutput

app = typer.Typer(help="List, show and roll back released models.", no_args_is_help=True)
SHORT_ID_LENGTH = 12
_SHORTENED_COLUMNS = ("run", "data")
_METRICS = ("accuracy", "micro_f1", "rmse")
_INTERVAL_COLUMNS = tuple(f"{name}_{end}" for name in _METRICS for end in ("low", "high"))
"""Shown in the cell of the metric."""


@app.command("list")
def list_models(
    location: Annotated[
        str,
        typer.Argument(
            metavar="STORE[/NAME]",
            help="STORE lists its models, STORE/NAME a model's versions; a path, gs:// or s3://.",
        ),
    ],
    as_json: JsonOutput = False,
) -> None:
    """List the versions of a model, newest first, or the models of a store."""
    from pipeline.api.models import models
    from pipeline.cli.tables import print_json, print_table

    rows = models(location)
    if as_json:
        print_json(rows)
    else:
        print_table(rows, hidden=_INTERVAL_COLUMNS, cell=_format_cell)


@app.command("show")
def show_version(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="STORE/NAME[@VERSION]",
            help="A released model; without a version, the champion. A path, gs:// or s3://.",
        ),
    ],
    as_json: JsonOutput = False,
) -> None:
    """Show all metadata of a version: its metrics, inputs, options and the run that released it."""
    from components.errors import DataError
    from components.registry import version_info
    from components.registry.reference import parse_model_reference, resolve_version
    from pipeline.cli.tables import print_fields, print_json

    model = parse_model_reference(reference)
    resolved = resolve_version(model)
    version = version_info.read_version_info(
        resolved.listing, resolved.version, resolved.is_champion
    )
    if version.manifest is None:
        raise DataError(version.problem)
    details = {
        "digest": version.manifest.digest,
        "champion": version.champion,
        "files": len(version.manifest.files),
        "bytes": sum(entry.size for entry in version.manifest.files.values()),
        **version.manifest.model_dump(mode="json", exclude={"files"}),
    }
    if as_json:
        print_json(details)
    else:
        print_fields(_flatten_fields(details))


@app.command("rollback")
def roll_back(
    reference: Annotated[
        str,
        typer.Argument(metavar="STORE/NAME", help="A released model; a path, gs:// or s3://."),
    ],
    to: Annotated[
        int | None,
        typer.Option(metavar="VERSION", help="The new champion; by default the version before."),
    ] = None,
    as_json: JsonOutput = False,
) -> None:
    """Make another version the champion, until the next release.

    Servers that follow the store switch to it by themselves.
    """
    from components import registry
    from components.errors import DataError, UsageError
    from components.registry.reference import parse_model_reference
    from pipeline.cli.tables import print_json

    model = parse_model_reference(reference)
    if model.version is not None:
        raise UsageError(
            f"{reference}: give the model alone, and the version as --to {model.version}"
        )
    uri = model.store.uri(model.name)
    before = registry.find_champion(model.store, model.name)
    if before is None:
        raise DataError(f"{uri}: nothing is released under this name")
    older = [
        number for number in registry.list_versions(model.store, model.name) if number < before
    ]
    if to is None and not older:
        raise DataError(f"{uri}: version {before} is the oldest; there is none to roll back to")
    after = older[-1] if to is None else to
    if after != before:
        registry.set_champion(model.store, model.name, after)
    undo = f"kubert models rollback {uri} --to {before}"
    if as_json:
        print_json({"name": model.name, "champion": after, "before": before, "undo": undo})
    elif after == before:
        typer.echo(f"{model.name}: version {after} is the champion already; nothing changed")
    else:
        typer.echo(
            f"{model.name}: version {after} is the champion now (before: {before}), "
            f"until a new version is released\nTo undo: {undo}"
        )


def _format_cell(row: Any, column: str) -> str:
    value = row.get(column)
    if value is None:
        return "-"
    if column in _METRICS:
        return _format_metric(value, row[f"{column}_low"], row[f"{column}_high"])
    if column == "champion":
        return "*" if value else ""
    return str(value)[:SHORT_ID_LENGTH] if column in _SHORTENED_COLUMNS else str(value)


def _format_metric(value: float, low: float | None, high: float | None) -> str:
    from components.artifacts.release import format_metric

    if low is None or high is None:
        return format_metric(value)
    return f"{format_metric(value)} ({format_metric(low)}-{format_metric(high)})"


def _flatten_fields(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested dictionaries as one, with dotted names and values as text."""
    fields: dict[str, str] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            fields |= _flatten_fields(inner, f"{prefix}{name}.")
        elif isinstance(inner, list):
            fields[prefix + name] = ", ".join(map(str, inner))
        else:
            fields[prefix + name] = "-" if inner in (None, "") else str(inner)
    return fields
