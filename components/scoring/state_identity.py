"""What the state of a scoring says about its job, so that no other job goes on with its results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from components.errors import DataError
from components.scoring.job import (
    ScoringJob,
    ShardRows,
    SourceRows,
    describe_identity,
    list_differences,
)
from components.scoring.unit_results import IDENTITY_KEY
from components.storage.store import MissingError, Store

MODEL_URI_KEY = "model_uri"
"""Beside the identity: where the model was, so that it can be named again."""


def claim_state(store: Store, job: ScoringJob) -> None:
    """Write the job's identity to its state; DataError, naming what differs, if it has another."""
    identity = describe_identity(job)
    record = identity | {MODEL_URI_KEY: job.model.uri}
    data = json.dumps(record, indent=1, sort_keys=True).encode()
    if store.create(IDENTITY_KEY, data):
        return
    try:
        found = json.loads(store.read_bytes(IDENTITY_KEY))
    except (MissingError, ValueError) as error:
        raise DataError(
            f"{store.uri(IDENTITY_KEY)}: not the identity of a scoring ({error})"
        ) from None
    if different := list_differences(found, identity):
        raise DataError(
            f"{store.uri()}: was started with {_name_differences(job, different, found)}; "
            "go on with the same model, rows and options as then, or remove this directory to "
            "start anew"
        )


def _name_differences(job: ScoringJob, names: Sequence[str], found: Mapping[str, Any]) -> str:
    """What a state was started with instead, as a phrase."""
    source = job.rows.data.sources if isinstance(job.rows, SourceRows) else (job.rows.uri,)
    phrases = {
        "model": f"the model {found.get(MODEL_URI_KEY, '')}, not {job.model.uri}",
        "source": f"another content of {', '.join(source)}, which has changed since",
        "shards": f"other shards than {job.rows.uri}" if isinstance(job.rows, ShardRows) else "",
    }
    if "source" in names:
        names = [name for name in names if name != "row_count"]  # says nothing more
    return ", ".join(phrases.get(name, f"another value of {name}") for name in names)


def read_model_uri(store: Store) -> str | None:
    """Where the model was that a state was started with; None if there is no such state."""
    try:
        uri = json.loads(store.read_bytes(IDENTITY_KEY)).get(MODEL_URI_KEY)
    except (MissingError, ValueError):
        return None
    return None if uri is None else str(uri)
