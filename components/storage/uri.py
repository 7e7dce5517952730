"""URIs of stores: parsed, checked, and shown without credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from components.errors import ConfigError

REMOTE_SCHEMES = ("gs", "s3", "minio")
ACCEPTED_URIS = "a path, gs://bucket/prefix, s3://bucket/prefix or minio://bucket/prefix"
MAX_KEY_BYTES = 1000
_MAX_SHOWN_KEY_LENGTH = 200
_BUCKET_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")
_NETWORK_ADDRESS = re.compile(r"^[0-9.]+$|^metadata(\.|$)|\.internal$|^localhost$")
_FORBIDDEN_IN_KEY = re.compile(r"[\\@?#\x00-\x1f\x7f]")


def is_remote_uri(uri: str) -> bool:
    """Whether it names object storage: it has a scheme, and that is not `file`."""
    return has_scheme(uri) and not uri.startswith("file://")


def refuse_local_paths(names: Iterable[str], advice: str) -> None:
    """ConfigError, which ends with `advice`, for a name that is a local path: no pod reads it."""
    for name in names:
        if not is_remote_uri(name):
            raise ConfigError(f"{name}: the workers' pods cannot reach it; {advice}")


def has_scheme(uri: str) -> bool:
    """Whether it is a URI, `file://` included, and not a plain path."""
    return "://" in uri


def parse_uri(uri: str) -> tuple[str, str, str]:
    """Scheme, bucket and prefix (without slashes at its ends); for a path: file, "", absolute path.

    Raises ConfigError for unknown schemes, `..`, credentials, queries, ports and network addresses.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "file", uri
    if not uri.strip() or any(ord(letter) < 32 for letter in uri):
        raise ConfigError(f"{uri!r}: not the URI of a store; use {ACCEPTED_URIS}")
    shown = without_credentials(uri)
    if ".." in rest.split("/"):
        raise ConfigError(f"{shown}: `..` is refused in a store's URI; write the resolved path")
    if scheme == "file":
        if separator and not rest.startswith("/"):
            raise ConfigError(f"{shown}: write file:///path, without a host")
        return "file", "", os.path.abspath(rest)  # noqa: PTH100 - a link at the root is the caller's choice
    if scheme not in REMOTE_SCHEMES:
        raise ConfigError(f"{shown}: unknown scheme {scheme!r}; use {ACCEPTED_URIS}")
    if "?" in rest:
        # Kubeflow Pipelines allows a query in a pipeline root only, never in the URI of an
        # artifact.
        raise ConfigError(
            f"{shown}: a query is refused; set AWS_ENDPOINT_URL and AWS_REGION "
            "(cluster.storage_endpoint) instead"
        )
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET_NAME.match(bucket) or ".." in bucket or _NETWORK_ADDRESS.search(bucket):
        raise ConfigError(
            f"{shown}: not the name of a bucket; "
            "credentials, ports and network addresses are refused"
        )
    prefix = prefix.strip("/")
    if prefix:
        check_key(prefix, shown)
    return scheme, bucket, prefix


def check_key(key: str, shown: str | None = None) -> str:
    """The key itself; ConfigError, with `shown` in its place, unless it is a plain relative name.

    Refused are empty, `.` and `..` parts, backslashes, `@`, `?`, `#`, control characters, and keys
    of more than MAX_KEY_BYTES.
    """
    if (
        any(part in ("", ".", "..") for part in key.split("/"))
        or _FORBIDDEN_IN_KEY.search(key)
        or len(key.encode(errors="replace")) > MAX_KEY_BYTES
    ):
        raise ConfigError(
            f"{shown or repr(key[:_MAX_SHOWN_KEY_LENGTH])}: not a valid name in a store "
            "(no empty part, `..`, backslash, @, ? or #)"
        )
    return key


def without_credentials(uri: str) -> str:
    """The URI with the user information masked and without its query."""
    scheme, separator, rest = uri.split("?")[0].partition("://")
    if separator and "@" in rest:
        return f"{scheme}://***@{rest.rpartition('@')[2]}"
    return scheme + separator + rest
