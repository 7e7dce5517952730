"""URIs of stores: parsed, checked, and shown without credentials."""

from __future__ import annotations

import os
import re

from components.errors import ConfigError

ACCEPTED_URIS = "a path, gs://bucket/prefix, s3://bucket/prefix or minio://bucket/prefix"


BUCKET_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")


NETWORK_ADDRESS = re.compile(r"^[0-9.]+$|^metadata(\.|$)|\.internal$|^localhost$")


def is_remote_uri(uri: str) -> bool:
    """Whether it names object storage and not a local path."""
    return "://" in uri and not uri.startswith("file://")


def has_scheme(uri: str) -> bool:
    """Whether it is a URI, `file://` included, and so is read and written through `storage.store`."""
    return "://" in uri


def parse_uri(uri: str) -> tuple[str, str, str]:
    """(file, "", absolute path) or (gs | s3 | minio, bucket, prefix without slashes at its ends)."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "file", uri
    if not uri.strip() or any(ord(letter) < 32 for letter in uri):
        raise ConfigError(f"{uri!r}: not a place for a store; use {ACCEPTED_URIS}")
    if ".." in rest.split("/"):
        raise ConfigError(
            f"{without_credentials(uri)}: `..` is refused in the name of a store; write the path it stands for"
        )
    if scheme == "file":
        if separator and not rest.startswith("/"):
            raise ConfigError(f"{without_credentials(uri)}: write file:///path, without a host")
        return "file", "", os.path.abspath(rest)  # noqa: PTH100 - a link at the root is the caller's choice
    if scheme not in ("gs", "s3", "minio"):
        raise ConfigError(
            f"{without_credentials(uri)}: unknown scheme {scheme!r}; use {ACCEPTED_URIS}"
        )
    if "?" in rest:
        # Kubeflow Pipelines allows one in a pipeline root only; it never is in the URI of an artifact.
        raise ConfigError(
            f"{without_credentials(uri)}: a query is refused; set AWS_ENDPOINT_URL and AWS_REGION (cluster.storage_endpoint) instead"
        )
    bucket, _, prefix = rest.partition("/")
    if not BUCKET_NAME.match(bucket) or ".." in bucket or NETWORK_ADDRESS.search(bucket):
        raise ConfigError(
            f"{without_credentials(uri)}: not a bucket's name; credentials, ports and network addresses do not belong here"
        )
    prefix = prefix.strip("/")
    if prefix:
        check_key(prefix, without_credentials(uri))
    return scheme, bucket, prefix


def check_key(key: str, shown: str | None = None) -> str:
    """The key, if it is a plain relative name: no empty, `.` or `..` part, no backslash, `@`, `?`, `#` or control character."""
    parts = key.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or re.search(r"[\\@?#\x00-\x1f\x7f]", key)
        or len(key.encode(errors="replace")) > 1000
    ):
        raise ConfigError(
            f"{shown or repr(key[:200])}: not a valid name in a store (no empty part, `..`, backslash, @, ? or #)"
        )
    return key


def without_credentials(uri: str) -> str:
    """The URI without what may be a secret: user information and query."""
    scheme, separator, rest = uri.split("?")[0].partition("://")
    return (
        f"{scheme}://***@{rest.rpartition('@')[2]}"
        if separator and "@" in rest
        else scheme + separator + rest
    )
