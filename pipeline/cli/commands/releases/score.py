"""`kubert score`: batch prediction, a text source through a release into one file."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from components.errors import ExitCode, KubertError, UsageError
from pipeline.api.arguments import split_names
from pipeline.cli.commands.releases.text_arguments import ReleaseArgument
from pipeline.cli.option_names import translated_option_names
from pipeline.cli.options import (
    AllowTags,
    Assignments,
    DryRun,
    JsonOutput,
    RunKey,
    ServerOptions,
    SkipCheck,
    WaitForRun,
    with_server_options,
)

if TYPE_CHECKING:
    from components.config.data import DataConfig
    from components.config.schema import Config

MIN_ROWS_WITH_RATE = 100
"""Of fewer rows, the time is that of the start."""
OPTION_NAMES = {
    "data.source and data.test_source": "--source",
    "data.source or data.test_source": "--source",
    "data.source": "--source",
    "data.text, data.text_pair, data.label and data.time_column": "--text, --text-pair, --keep and "
    "data.time_column",
    "data.text": "--text",
    "data.text_pair": "--text-pair",
    "data.max_bad_rows": "--max-bad-rows",
    "score.release": "RELEASE",
    "score.source": "--source",
    "score.to": "--to",
    "score.format": "--format",
    "score.keep": "--keep",
    "score.all_scores": "--all-scores",
    "score.embeddings": "--embeddings",
    "score.separator": "--separator",
    "score.workers": "--workers",
}
"""What this command calls options of the configuration."""


class OutputFormatName(StrEnum):
    """The formats of the output."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


class ScoringInterruptedError(KubertError):
    """Ctrl-C or SIGTERM ended the command."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self) -> None:
        super().__init__("stopped; what was scored stays, and the same command goes on from it")


@with_server_options(config_option=False)
@translated_option_names(OPTION_NAMES)
def score_source(
    release: ReleaseArgument,
    source: Annotated[
        list[str],
        typer.Option(
            metavar="SOURCE",
            help="File, directory or pattern of texts, as data.source takes it: CSV, TSV, JSON or "
            "Parquet; local, gs:// or s3://; can be repeated.",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(metavar="DIR", help="Directory of the output, or its gs:// or s3:// URI."),
    ],
    text: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Text columns, joined by a space, separated by commas (default: data.text).",
        ),
    ] = None,
    text_pair: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="The two text columns for a model of pairs, separated by a comma (default: "
            "data.text_pair, or the names of the model's inputs).",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS", help="Columns to write before the label, separated by commas."
        ),
    ] = None,
    output_format: Annotated[
        OutputFormatName, typer.Option("--format", help="Format of the output.")
    ] = OutputFormatName.PARQUET,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Write the score of every class, as score_CLASS.")
    ] = False,
    embeddings: Annotated[
        bool,
        typer.Option("--embeddings", help="Write the encoder's vector instead of label and score."),
    ] = False,
    separator: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="What stands between the labels of a text in CSV, if it has several.",
        ),
    ] = "|",
    workers: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Worker processes; 0: score in this process."),
    ] = 1,
    max_bad_rows: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Rows that may be rejected (default: data.max_bad_rows, 0)."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG", help="A configuration whose `data` section says how rows are read."
        ),
    ] = None,
    assignments: Assignments = None,
    *,
    on_cluster: Annotated[
        bool,
        typer.Option(
            "--cluster",
            help="Submit a run of the pipeline kubert-score instead of scoring here; everything "
            "then is at gs://, s3:// or minio:// URIs. --set takes options of `cluster`, too.",
        ),
    ] = False,
    server: ServerOptions,
    key: RunKey = None,
    wait: WaitForRun = False,
    dry_run: DryRun = False,
    allow_tags: AllowTags = False,
    skip_check: SkipCheck = False,
    as_json: JsonOutput = False,
) -> None:
    """Score all rows of a text source with a released model.

    Writes a label and its score for each row, several labels, or a number, as the model predicts.

    Writes DIR/predictions.FORMAT, rows in the order of the source, and DIR/manifest.json last. The
    same command after a stop or a crash goes on; after its end it does nothing. Rejected rows are
    listed in DIR/rejected.jsonl.

    The options from --endpoint to --skip-check belong to --cluster, as those of `kubert submit`.
    """
    from components.batch_prediction import step
    from components.batch_prediction.request import BatchPredictionRequest
    from pipeline.api.settings import load_data_options
    from pipeline.cli.submission import submit_configuration
    from pipeline.cli.tables import create_console, print_json, print_line
    from pipeline.kubeflow.submission import prepare_scoring

    _refuse_standard_input(source)
    columns = () if keep is None else split_names("--keep", keep)
    if not separator:
        raise UsageError("--separator: is empty; write what stands between two labels, such as ';'")
    given = assignments or []
    of_cluster = [each for each in given if on_cluster and each.startswith("cluster.")]
    data = load_data_options(
        config,
        [each for each in given if each not in of_cluster],
        source,
        split_names("--text", text) if text is not None else None,
        max_bad_rows,
        split_names("--text-pair", text_pair) if text_pair is not None else None,
        of_command=True,
    )
    if on_cluster:
        options = {
            "release": release,
            "source": source,
            "to": to,
            "format": output_format.value,
            "keep": columns,
            "all_scores": all_scores,
            "embeddings": embeddings,
            "separator": separator,
            "workers": workers,
        }
        submit_configuration(
            _build_settings(config, of_cluster, data, options),
            server,
            prepare_scoring,
            key,
            wait=wait,
            dry_run=dry_run,
            allow_tags=allow_tags,
            skip_check=skip_check,
            as_json=as_json,
        )
        return
    request = BatchPredictionRequest(
        release=release,
        data=data,
        to=to,
        format=output_format.value,
        keep=columns,
        all_scores=all_scores,
        embeddings=embeddings,
        separator=separator,
        workers=workers,
    )
    console = create_console(to_stderr=as_json)
    start = time.monotonic()
    with _stop_signals_as_error(), _shown_progress(console):
        done = step.run(request)
    content, seconds = done.content, time.monotonic() - start
    rejected = sum(content.rejected.values())
    if as_json:
        print_json(
            {
                "file": done.file,
                "rows": content.rows,
                "rejected": rejected,
                "columns": [*content.columns],
                "release": content.release,
                "created": done.created,
                "seconds": round(seconds, 3),
                "sha256": done.manifest.files[content.file].sha256,
            }
        )
        return
    if not done.created:
        print_line(console, f"scored before, nothing is done again: {done.file}")
        return
    rate = content.rows / max(seconds, 1e-3)
    speed = f" ({rate:,.0f} rows/s)" if content.rows >= MIN_ROWS_WITH_RATE else ""
    print_line(console, f"{content.rows:,} rows in {seconds:,.1f} s{speed}")
    if rejected:
        print_line(console, f"{rejected:,} rows rejected: {done.uri}/rejected.jsonl")
    print_line(console, done.file)


def _build_settings(
    config: str | None, assignments: list[str], data: DataConfig, options: dict[str, Any]
) -> Config:
    """The configuration of a run on a cluster that scores what the options say."""
    from components.config.loading import validate_config
    from pipeline import presets

    score = validate_config({"score": options}, "options").score
    settings = presets.load_preset(config, assignments)
    return settings.model_copy(update={"data": data, "score": score})


def _refuse_standard_input(sources: list[str]) -> None:
    if "-" in sources:
        raise UsageError(
            "--source -: standard input is not read, because the rows are counted before they are "
            "scored, and read again after a stop; write it to a file first: cat > texts.csv"
        )


@contextmanager
def _stop_signals_as_error() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise ScoringInterruptedError, whatever runs at the time."""
    from components.workers.exit_codes import WorkerGroupInterruptedError
    from components.workers.process_control import signals_handled

    def interrupt(_: int) -> NoReturn:
        raise KeyboardInterrupt

    try:
        with signals_handled(interrupt, [signal.SIGTERM]):
            yield
    except (KeyboardInterrupt, WorkerGroupInterruptedError):
        raise ScoringInterruptedError from None


@contextmanager
def _shown_progress(console: Any) -> Iterator[None]:
    """Show the progress events that this process reports while the block runs."""
    from components.progress import ProgressEvent, StepName
    from pipeline.api.reported_events import forward_events
    from pipeline.progress_bar import ProgressView

    with ProgressView(console) as view:
        view.show(ProgressEvent(StepName.SCORE, kind="started"))
        with forward_events(view.show):
            yield
