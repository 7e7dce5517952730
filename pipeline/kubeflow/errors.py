"""Errors of the Kubeflow Pipelines API: who can act, and whether the call took effect."""

from __future__ import annotations

import datetime
import email.utils
import json
from collections.abc import Mapping
from typing import Protocol

from urllib3.exceptions import HTTPError

from components.errors import ConfigError, KubertError, UsageError
from components.redaction import redact_to_line

TRANSIENT_STATUS_CODES = (408, 425, 429, 500, 502, 503, 504)


class ApiErrorResponse(Protocol):
    """What is read of `kfp_server_api.ApiException`; without a reply `status` is 0 or None."""

    status: int | None
    reason: str | None
    body: str | bytes | None
    headers: Mapping[str, str] | None


class ServerUnavailableError(KubertError):
    """The server cannot be reached, or kept failing; the same call may succeed later."""


class AmbiguousOutcomeError(KubertError):
    """A call that creates an object failed, and the object may have been created all the same."""


class RateLimitedError(KubertError):
    """The server refused a call for now (429) and did nothing.

    `retry_after_seconds` is how long it asks to wait, None if it does not say.
    """

    def __init__(self, message: str, retry_after_seconds: float | None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class PermissionDeniedError(ConfigError):
    """The caller is not authenticated (401, a sign-in page), or not authorized (403)."""


class NotFoundError(UsageError):
    """The server has no such object (404)."""


class InvalidRequestError(ConfigError):
    """The server rejects the request (400 and the like)."""


class ConflictError(InvalidRequestError):
    """The request conflicts with an existing object (409)."""


class TransientError(Exception):
    """One attempt failed, and another may succeed; never leaves the client.

    `no_effect` is true where the server states that it did nothing (429).
    """

    def __init__(
        self, reason: str, retry_after_seconds: float | None = None, *, no_effect: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after_seconds, self.no_effect = retry_after_seconds, no_effect


def parse_retry_after(error: ApiErrorResponse) -> float | None:
    """Seconds that the `Retry-After` header asks to wait, given as a number or as a date."""
    value = next(
        (text for name, text in (error.headers or {}).items() if name.lower() == "retry-after"), ""
    )
    if value.strip().isdigit():
        return float(value)
    when = parse_http_date(value)
    if when is None:
        return None
    return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())


def parse_http_date(text: str) -> datetime.datetime | None:
    """The time in an HTTP date header; None for text that is no date."""
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=datetime.UTC)


def parse_json_object(error: ApiErrorResponse) -> dict[str, object] | None:
    """The reply's body if it is a JSON object: an error of the API itself, not of a proxy."""
    try:
        body = json.loads(error.body or "")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def extract_message(error: ApiErrorResponse) -> str:
    """The server's short message, with secrets redacted.

    That is the innermost detail of a google.rpc.Status, or `error_details` or `error_message` of an
    upload, or else HTTP's reason phrase.
    """
    phrase = str(error.reason or "")
    body = parse_json_object(error)
    if body is None:
        return redact_to_line(phrase)
    text = _find_detail_message(body.get("details"))
    if not text or text == "Internal Server Error":
        text = body.get("error_details") or body.get("message") or body.get("error_message")
    return redact_to_line(str(text).splitlines()[0] if text else phrase)


def _find_detail_message(details: object) -> object:
    if isinstance(details, list) and details and isinstance(details[0], dict):
        return details[0].get("message")
    return None


def describe_connection_error(error: HTTPError) -> str:
    """One line about a request that got no reply, with secrets redacted."""
    cause = getattr(error, "reason", None) or error
    return redact_to_line(f"{type(error).__name__}: {str(cause).partition(': ')[2] or cause}")
