"""`kubert models`: what a store holds, what one version was made from, and the way back to an older one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from components.registry.reference import Place
    from components.registry.version_info import Version

app = typer.Typer(help="List, show and roll back released models.", no_args_is_help=True)
_IN_ACCURACY = ("accuracy_low", "accuracy_high")
_IDENTIFIERS = ("run", "data")
Json = Annotated[bool, typer.Option("--json", help="One JSON value on standard output.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="STORE/NAME[@VERSION]", help="A model in a store: a path, gs:// or s3://."
    ),
]


@app.command("list")
def list_(
    place: Annotated[
        str,
        typer.Argument(
            metavar="STORE[/NAME]",
            help="A model's versions, or a store's models: a path, gs:// or s3://.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """List the versions of a model, newest first, or the models of a store."""
    from components.registry import version_info

    found = _model(place)
    if found is not None:
        _show(
            [_row(version) for version in reversed(version_info.versions(found.store, found.name))],
            as_json,
        )
        return
    store, names = _store(place)
    rows = []
    for name in names:
        versions = version_info.versions(store, name)
        served = next(version for version in versions if version.champion)
        rows.append(
            {"name": name, "versions": len(versions), "served": served.number, **_figures(served)}
        )
    _show(rows, as_json)


@app.command()
def show(reference: Model, as_json: Json = False) -> None:
    """Show all that a version says about itself: figures, what it was made from, with which options, by which run."""
    from components.artifacts import release
    from components.errors import DataError
    from components.registry import version_info
    from components.registry.reference import locate, wanted_version

    place = locate(reference)
    number = wanted_version(place)
    version = version_info.version(
        place.store, place.name, number, number == release.champion(place.store, place.name)
    )
    if version.manifest is None:
        raise DataError(version.problem)
    manifest = version.manifest.model_dump(mode="json", exclude={"files"})
    size = sum(entry.size for entry in version.manifest.files.values())
    told = {
        "digest": version.manifest.digest,
        "champion": version.champion,
        "files": len(version.manifest.files),
        "bytes": size,
        **manifest,
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    for name, value in _flat(told):
        typer.echo(f"{name:<28}{value}")


@app.command()
def rollback(
    reference: Annotated[
        str,
        typer.Argument(metavar="STORE/NAME", help="A model in a store: a path, gs:// or s3://."),
    ],
    to: Annotated[
        int | None,
        typer.Option(metavar="VERSION", help="The version to go to; without it, the one before."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put another version in force, until the next release; servers that follow the store change by themselves."""
    from components.artifacts import release
    from components.errors import DataError, UsageError
    from components.registry.reference import locate

    place = locate(reference)
    if place.version is not None:
        raise UsageError(
            f"{reference}: name the model alone, and the version with --to {place.version}"
        )
    before = release.champion(place.store, place.name)
    complete = release.versions(place.store, place.name)
    if before is None:
        raise DataError(f"{place.store.uri(place.name)}: nothing is released under this name")
    older = [version for version in complete if version < before]
    if to is None and not older:
        raise DataError(
            f"{place.store.uri(place.name)}: version {before} is the oldest; there is none to go back to"
        )
    after = older[-1] if to is None else to
    if after != before:
        release.put_back(place.store, place.name, after)
    model = place.store.uri(place.name)
    undo = f"kubert models rollback {model} --to {before}"
    if as_json:
        typer.echo(
            json.dumps({"name": place.name, "champion": after, "before": before, "undo": undo})
        )
    elif after == before:
        typer.echo(f"{place.name}: version {after} is in force already; nothing was changed")
    else:
        typer.echo(
            f"{place.name}: version {after} is in force now (was {before}), until a new one is released\nTo undo: {undo}"
        )


def _model(place: str) -> Place | None:
    """The model that is meant, if something is released under that name."""
    from components.artifacts import release
    from components.errors import UsageError
    from components.registry.reference import locate

    try:
        found = locate(place)
    except UsageError:
        return None
    if found.version is not None:
        raise UsageError(f"{place}: names a version; `kubert models show {place}` tells about it")
    return found if release.versions(found.store, found.name) else None


def _store(place: str) -> tuple[Any, list[str]]:
    from components.artifacts import release
    from components.errors import DataError
    from components.storage.store import open_store

    store = open_store(place.rstrip("/") or "/")
    names = release.names(store)
    if not names:
        raise DataError(
            f"{store.uri()}: nothing is released here; write STORE or STORE/NAME, as `kubert run` printed it"
        )
    return store, names


def _row(version: Version) -> dict[str, Any]:
    return {"version": version.number, "champion": version.champion, **_figures(version)}


def _figures(version: Version) -> dict[str, Any]:
    content = version.content
    figures = {
        "released": version.released or None,
        "accuracy": content and content.accuracy,
        "accuracy_low": content and content.accuracy_low,
        "accuracy_high": content and content.accuracy_high,
        "encoder": content and content.encoder,
        "run": version.run or None,
        "data": version.data or None,
    }
    return {**figures, "problem": version.problem} if version.problem else figures


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """The rows as JSON, or as a table: aligned at a terminal, cells with a tab between them in a pipe."""
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if name not in _IN_ACCURACY
    ]
    console = Console(highlight=False)
    if not console.is_terminal:
        for line in [names, *([_cell(row, name) for name in names] for row in rows)]:
            typer.echo("\t".join(line))
        return
    table = Table(*names, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(_cell(row, name)) for name in names))
    console.print(table)


def _cell(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return "-"
    if name == "accuracy":
        return f"{value:.4f} ({row['accuracy_low']:.4f}-{row['accuracy_high']:.4f})"
    if name == "champion":
        return "*" if value else ""
    return str(value)[:12] if name in _IDENTIFIERS else str(value)


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names with dots, and values as they are written."""
    lines: list[tuple[str, str]] = []
    for name, inner in value.items():
        if isinstance(inner, dict):
            lines += _flat(inner, f"{prefix}{name}.")
        else:
            lines.append(
                (
                    prefix + name,
                    ", ".join(map(str, inner))
                    if isinstance(inner, list)
                    else "-"
                    if inner in (None, "")
                    else str(inner),
                )
            )
    return lines
