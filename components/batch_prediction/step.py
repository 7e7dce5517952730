"""Batch prediction: a text source through a release, into one file at a directory or URI.

Imports no TensorFlow: the workers do.
"""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from components import progress
from components.artifacts.artifact import parse_content
from components.artifacts.manifest import Manifest, added_field
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.batch_prediction.output_files import (
    build_table,
    open_output,
    write_rejected_rows,
)
from components.batch_prediction.request import (
    BatchPredictionRequest,
    check_request,
    choose_columns,
    list_columns,
)
from components.batch_prediction.target import (
    PREDICTIONS_KIND,
    REJECTED_FILENAME,
    Target,
    check_not_in_source,
    check_not_of_a_model,
    lock_target,
    parse_target,
)
from components.config.cluster import ClusterConfig
from components.config.environment import ENV_IMAGE, ENV_RUN
from components.config.score import ScoreConfig
from components.data.readers.remedies import suggest_remedies
from components.data.rows import Source
from components.data.time_window import fill_date_placeholder
from components.errors import DataError, KubertError
from components.progress import StepName
from components.registry.reference import FoundRelease, find_release
from components.scoring.job import (
    ModelInput,
    ScoringJob,
    SourceRows,
    data_identity,
    list_differences,
)
from components.scoring.kept_columns import find_column_types
from components.scoring.launch import run_scoring
from components.scoring.text_rows import open_text_source, survey_source
from components.scoring.unit_results import read_results
from components.storage.atomic_files import FileEntry, file_sha256
from components.storage.store import StoreError
from components.storage.uri import refuse_local_paths

_GOES_ON = "what was scored stays, and the same command goes on from it"
OUTPUT_FORMAT = 1
"""Raise it when the same results would be written as another file."""


class PredictionsContent(BaseModel):
    """Description of an output: the manifest's `content`.

    `rows` were scored, `rejected` counts the others by reason; both are in `rows_read`. `task` is
    the release's kind of task, if it is another than one label for each text.
    """

    model_config = ConfigDict(frozen=True)
    file: str
    rows: int
    rows_read: int
    rejected: dict[str, int] = {}
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    release: str
    release_name: str = ""
    release_version: int = 0
    task: TaskInfo = added_field(SINGLE_LABEL)


@dataclass(frozen=True)
class BatchPrediction:
    """A finished output; `created` is false if it had been there before."""

    uri: str
    manifest: Manifest
    content: PredictionsContent
    created: bool

    @property
    def file(self) -> str:
        """Path or URI of the file with the rows."""
        return f"{self.uri}/{self.content.file}"

    @property
    def rows(self) -> int:
        """Number of the rows that were scored."""
        return self.content.rows

    def __repr__(self) -> str:
        return f"<BatchPrediction {self.rows:,} rows: {self.file}>"


def run(request: BatchPredictionRequest, cluster: ClusterConfig | None = None) -> BatchPrediction:
    """Score the source's rows and commit the output to `request.to`.

    What a stopped or killed attempt has finished is not done again. A target with the output of the
    same request is left as it is. Raises, before anything is scored, UsageError or ConfigError for
    options that do not fit, DataError for a damaged release, a source that cannot be read or has
    more bad rows than data.max_bad_rows, and a target with another output or with files of its
    names that were changed since or come from elsewhere.
    """
    cluster = cluster or ClusterConfig()
    check_request(request)
    target = parse_target(request.to)
    names = fill_date_placeholder(request.data)
    check_not_in_source(target, names, [request.filename, REJECTED_FILENAME])
    check_not_of_a_model(target)
    if cluster.backend == "jobset":
        refuse_local_paths(
            [request.release, *names, target.uri],
            "with cluster.backend=jobset, release, source and target are gs://, s3:// or minio:// "
            "URIs",
        )
    with _translated_disk_errors(target), lock_target(target):
        release = find_release(request.release)
        request = choose_columns(request, release.content.inputs)
        columns = list_columns(request, release.content)
        progress.report(StepName.SCORE, "reading the source")
        with open_text_source(request.data) as source:
            keep = find_column_types(source.reader, request.keep)
            identity = _describe_output(request, release, source, keep)
            if (manifest := _find_output(target, identity)) is not None:
                content = parse_content(PredictionsContent, manifest, target.uri)
                return BatchPrediction(target.uri, manifest, content, created=False)
            job = _build_job(request, release, source, keep, target, cluster)
            run_scoring(job, request.workers, cluster)
        return _write_output(request, release, job, target, columns, identity)


def _build_job(
    request: BatchPredictionRequest,
    release: FoundRelease,
    source: Source,
    keep: dict[str, str],
    target: Target,
    cluster: ClusterConfig,
) -> ScoringJob:
    """The job for the source's rows, which are counted first; DataError if too many are bad."""
    for note in source.notes:
        progress.report_note(StepName.SCORE, note)
    progress.report(StepName.SCORE, "counting the rows")
    survey = survey_source(source, request.data, request.keep)
    bad = survey.rejected.counts.total()
    if survey.rejected.is_over_limit:
        remedies = suggest_remedies(source.files, request.data, survey.rejected.counts)
        survey.rejected.raise_error(remedies, {}, survey.rows)
    if survey.rows == bad:
        why = "all are outside of the window" if survey.outside_window else "it holds no rows"
        raise DataError(
            f"{source.name}: nothing to score, " + (survey.rejected.describe() if bad else why)
        )
    is_local = cluster.backend == "local"
    return ScoringJob(
        step=StepName.SCORE,
        model=ModelInput(kind="release", uri=release.uri, digest=release.manifest.digest),
        rows=SourceRows(
            data=request.data,
            digest=source.sha256,
            keep=keep,
            paths={name: str(path) for name, path in source.files.items()} if is_local else {},
        ),
        row_count=survey.rows,
        state=target.state,
        output="embeddings" if request.embeddings else "scores",
    )


def _describe_output(
    request: BatchPredictionRequest, release: FoundRelease, source: Source, keep: dict[str, str]
) -> dict[str, Any]:
    """All that determines the output, by name."""
    identity = {
        "format": OUTPUT_FORMAT,
        "release": release.manifest.digest,
        "source": source.sha256,
        "data": data_identity(request.data),
        "keep": keep,
        "file": request.filename,
        "all_scores": request.all_scores,
        "embeddings": request.embeddings,
    }
    if release.content.task.kind == "multi_label" and request.format == "csv":
        identity["separator"] = request.separator
    return identity


def _find_output(target: Target, identity: dict[str, Any]) -> Manifest | None:
    """The manifest of a finished output of this identity.

    DataError if it has another one, or files that were changed or that are not of an output.
    """
    manifest = target.read_manifest()
    if manifest and (different := list_differences(manifest.config, identity)):
        raise DataError(
            f"{target.uri}: holds the output of another request "
            f"({', '.join(map(_name_option, different))} differ); "
            "name another directory, or remove what is there"
        )
    target.check_files()
    if manifest is None or not target.has_files(manifest.files):
        return None
    target.remove_state()
    return manifest


def _name_option(name: str) -> str:
    """The option behind a name of the output's identity; the name if there is none."""
    if name == "file":
        return "score.format"
    return f"score.{name}" if name in ScoreConfig.model_fields else name


def _write_output(
    request: BatchPredictionRequest,
    release: FoundRelease,
    job: ScoringJob,
    target: Target,
    columns: list[str],
    identity: dict[str, Any],
) -> BatchPrediction:
    rows = 0
    reasons: Counter[str] = Counter()
    with target.staging() as directory:
        path, rejected_path = directory / request.filename, directory / REJECTED_FILENAME
        with (
            open_output(path, request.format) as write,
            rejected_path.open("w", encoding="utf-8") as rejected,
        ):
            for result in read_results(job):
                write(build_table(result, request, release.content, columns))
                write_rejected_rows(rejected, result.rejected)
                rows += len(result.rows)
                reasons.update(row.reason for row in result.rejected)
                progress.report(
                    StepName.SCORE, "writing the output", done=rows, total=job.row_count
                )
        if not reasons:
            rejected_path.unlink()
        content = PredictionsContent(
            file=request.filename,
            rows=rows,
            rows_read=job.row_count,
            rejected=dict(reasons),
            columns=tuple(columns),
            classes=release.content.classes,
            release=release.uri,
            release_name=release.content.name,
            release_version=release.content.version,
            task=release.content.task,
        )
        manifest = Manifest(
            kind=PREDICTIONS_KIND,
            files={
                each.name: FileEntry(size=each.stat().st_size, sha256=file_sha256(each))
                for each in (path, rejected_path)
                if each.exists()
            },
            inputs={"release": release.manifest.digest, "source": job.rows.digest},
            config=identity,
            content=content.model_dump(mode="json"),
            provenance={
                "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "source": [*fill_date_placeholder(request.data)],
                "run": os.environ.get(ENV_RUN, ""),
            },
            image=os.environ.get(ENV_IMAGE, ""),
        )
        target.commit(directory, manifest)
    return BatchPrediction(target.uri, manifest, content, created=True)


@contextmanager
def _translated_disk_errors(target: Target) -> Iterator[None]:
    """KubertError for a file that cannot be written; the state stays for the next attempt."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{error}; {_GOES_ON}") from None
    except OSError as error:
        name = error.filename or target.uri
        raise KubertError(
            f"{name}: cannot be written ({error.strerror or error}); {_GOES_ON}"
        ) from None
