"""`kubert explain`: which words a released model's answer comes from, and where it looks."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from components.errors import UsageError
from components.explain.options import (
    DEFAULT_STEPS,
    MAX_STEPS,
    AttentionChoice,
    ExplanationOptions,
)
from pipeline.api.arguments import parse_numbers
from pipeline.cli.commands.releases.text_arguments import ReleaseArgument, read_texts
from pipeline.cli.option_names import translated_option_names

if TYPE_CHECKING:
    from components.artifacts.artifact import Artifact
    from components.artifacts.release import ReleaseContent
    from components.explain.explanation import Explanation

OPTION_NAMES = {
    "target=": "--class ",
    "steps=": "--steps ",
    "layers=": "--layers ",
    "heads=": "--heads ",
}
"""What this command calls arguments of the Python API."""


@translated_option_names(OPTION_NAMES)
def explain_texts(
    release: ReleaseArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Texts to explain; - or none: one text per line of standard input.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="CLASS",
            help="Explain the score of this class; by default, that of the one with the largest.",
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_STEPS,
            help="Points of the integral, each a forward and a backward pass; more of them make "
            "the gap smaller.",
        ),
    ] = DEFAULT_STEPS,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="LAYERS",
            help="Layers whose attention is shown: numbers from 1, separated by commas, all, last "
            "or none. Default: last with --html and --json, else none.",
        ),
    ] = None,
    heads: Annotated[
        str,
        typer.Option(
            metavar="HEADS",
            help="Heads whose attention is shown: numbers from 1, separated by commas, all, or "
            "mean for the mean of the heads.",
        ),
    ] = "mean",
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a page with the explanations and pictures of attention."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object per text: scores, words, contributions, attention, and "
            "is_confident if the release has a threshold.",
        ),
    ] = False,
) -> None:
    """Explain the answers of a released model.

    Shows how much each word contributes to the log-odds of a class, or to the number that a model
    predicts (integrated gradients), by how much they fall without it (occlusion), and what words
    attend to. What it costs is stated on
    standard error before it is computed. A label with a question mark has a score below the
    release's threshold.
    """
    if layers is None:
        layers = "last" if html or as_json or heads != "mean" else "none"

    chosen = parse_numbers("--layers", layers, ("last", "all", "none"))
    options = ExplanationOptions(
        target=target,
        steps=steps,
        attention=AttentionChoice(
            layers=cast(
                tuple[int, ...] | Literal["last", "all"],
                () if chosen == "none" else chosen,
            ),
            heads=cast(
                tuple[int, ...] | Literal["mean", "all"],
                parse_numbers("--heads", heads, ("mean", "all")),
            ),
        ),
    )
    if html is not None:
        _check_page(html)
    given = list(read_texts("explain", release, texts))
    if not given:
        raise UsageError(
            "standard input has no text; give texts as arguments, or one per line: "
            f"kubert explain {shlex.quote(release)} - < FILE"
        )
    _explain(release, given, options, html, as_json)


def _explain(
    reference: str, texts: list[str], options: ExplanationOptions, html: Path | None, as_json: bool
) -> None:
    from components.registry.opened_release import open_reference
    from pipeline.cli.explanation_text import print_explanation
    from pipeline.cli.tables import create_console, print_json

    console = create_console()
    explanations = []
    with open_reference(reference) as release:
        from components.explain.loading import load_explainer  # TensorFlow takes seconds

        explainer = load_explainer(release)
        plan = explainer.plan(texts, options)
        typer.echo(plan.describe_cost(), err=True)
        for explanation in explainer.explain(plan):
            if as_json:
                print_json(explanation.to_dict())
            else:
                print_explanation(console, explanation)
            if html is not None:
                explanations.append(explanation)
        if html is not None:
            _write_page(html, explanations, release)


def _check_page(path: Path) -> None:
    """UsageError if the page could not be written there."""
    target = path.absolute()
    if not target.parent.is_dir():
        raise UsageError(f"--html {path}: there is no directory {target.parent}")
    if target.is_dir():
        raise UsageError(f"--html {path}: is a directory; name a file, such as {path}/page.html")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise UsageError(f"--html {path}: cannot be written; name another file")


def _write_page(
    path: Path, explanations: list[Explanation], release: Artifact[ReleaseContent]
) -> None:
    """Write the page; a failure leaves what was there. UsageError where it cannot be written."""
    from components.explain.page import render_page
    from components.storage.atomic_files import atomic_write

    content = release.content
    facts = {
        "Name": f"{content.name} version {content.version}" if content.name else "unpublished",
        "Encoder": content.encoder,
        "Release": release.digest,
    }
    page = render_page(explanations, facts).encode(errors="replace")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(page)  # a device or a pipe, which is not to be replaced
        else:
            atomic_write(path.resolve(), page)
    except OSError as error:
        raise UsageError(f"--html {path}: {error.strerror or error}") from None
    typer.echo(f"page    {path}", err=True)
