"""Tries a store with a temporary object: what kubert needs of it, and what it does wrong.

`python -m components.storage.probe URI...` does so from wherever it runs, such as a pod, and prints
one JSON object per store: {"uri", "problem", "remedy"}, both empty for a store that works. Exit
code 1: one of them does not.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from components.errors import KubertError
from components.storage.store import Store, open_store
from components.storage.uri import is_remote_uri


class StoreProblem(NamedTuple):
    """What a store does wrong, and what to do about it."""

    problem: str
    remedy: str


def try_store(uri: str) -> StoreProblem | None:
    """Create, read, list and delete an object, and try to create it twice; None if all of it works.

    Never raises KubertError: a store that cannot be reached is a problem, too.
    """
    try:
        return _try_operations(open_store(uri))
    except KubertError as error:
        return StoreProblem(" ".join(str(error).split()), _find_remedy(uri))


def _try_operations(store: Store) -> StoreProblem | None:
    key = f"kubert-doctor-{uuid.uuid4().hex}"
    content, other_content = uuid.uuid4().bytes, uuid.uuid4().bytes
    try:
        created, created_again = store.create(key, content), store.create(key, other_content)
        read, is_listed = store.read_bytes(key), key in store.list()
    finally:
        store.delete(key)
    if not created or created_again or read != content:
        return StoreProblem(
            "overwrites an existing object on create, so two releases could get the same version",
            "use a store with conditional writes (If-None-Match, ifGenerationMatch)",
        )
    if not is_listed or store.exists(key):
        return StoreProblem(
            "a written object is not listed, or a deleted one still exists",
            "use a store with consistent listings",
        )
    return None


def _find_remedy(uri: str) -> str:
    if uri.startswith("gs://"):
        return (
            "provide credentials (gcloud auth application-default login, or "
            "GOOGLE_APPLICATION_CREDENTIALS) with object rights on the bucket"
        )
    if is_remote_uri(uri):
        return (
            "provide AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY with rights on the bucket, and "
            "AWS_ENDPOINT_URL for a service other than AWS"
        )
    return "make the directory writable, or set export.model_store"


def main(uris: Sequence[str]) -> int:
    """Try each store and print what was found; the exit code."""
    found = {uri: try_store(uri) for uri in uris}
    for uri, problem in found.items():
        values = problem or StoreProblem("", "")
        print(json.dumps({"uri": uri, **values._asdict()}), flush=True)
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
