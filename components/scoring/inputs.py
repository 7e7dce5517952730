"""Downloads the model and the shards of a job that are at URIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components import progress
from components.artifacts import transfer
from components.scoring.job import ScoringJob, ShardRows
from components.storage.uri import is_remote_uri

FETCHED_DIRECTORIES = ("model", "shards")


def fetch_inputs(job: ScoringJob, directory: Path, *, report: bool = True) -> ScoringJob:
    """The job with local paths; what is at a URI is downloaded below `directory`, and verified.

    A text source stays as it is: its reader downloads it.
    """
    changes: dict[str, Any] = {}
    model, shards = (directory / name for name in FETCHED_DIRECTORIES)
    if is_remote_uri(job.model.uri):
        if report:
            progress.report(job.step, f"fetching the model from {job.model.uri}")
        transfer.download_artifact(job.model.uri, model, job.model.kind)
        changes["model"] = job.model.model_copy(update={"uri": str(model)})
    if isinstance(job.rows, ShardRows) and is_remote_uri(job.rows.uri):
        if report:
            progress.report(job.step, f"fetching the shards from {job.rows.uri}")
        transfer.download_artifact(job.rows.uri, shards, "token_shards")
        changes["rows"] = job.rows.model_copy(update={"uri": str(shards)})
    return job.model_copy(update=changes)
