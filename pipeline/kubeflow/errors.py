"""What a call to the server that failed means: who can do something about it, and whether it may have taken effect."""

from __future__ import annotations

import datetime
import email.utils
import json
from typing import Any

from urllib3.exceptions import HTTPError

from components.errors import ConfigError, KubertError, UsageError
from components.redaction import redact_to_line

TRANSIENT_STATUS_CODES = (408, 425, 429, 500, 502, 503, 504)


class ServerUnavailableError(KubertError):
    """The server could not be reached, or kept failing; the same call may work later."""


class AmbiguousOutcomeError(KubertError):
    """A call that creates something failed so that it may have taken effect."""


class RateLimitedError(KubertError):
    """The server refused a call for now (429); nothing took effect. `seconds` is how long it asks to wait."""

    def __init__(self, message: str, seconds: float | None) -> None:
        super().__init__(message)
        self.seconds = seconds


class PermissionDeniedError(ConfigError):
    """The server does not know who asks (401, a sign-in page), or does not allow it (403)."""


class NotFoundError(UsageError):
    """There is no such object on the server."""


class InvalidRequestError(ConfigError):
    """The server found the request wrong (400), or in conflict with what is there (409: `conflict`)."""

    def __init__(self, message: str, *, conflict: bool = False) -> None:
        super().__init__(message)
        self.conflict = conflict


class TransientError(Exception):
    """One attempt failed in a way that another may not; `untouched`: the server says that it did nothing."""

    def __init__(
        self, reason: str, seconds: float | None = None, *, untouched: bool = False
    ) -> None:
        super().__init__(reason)
        self.seconds, self.untouched = seconds, untouched


def parse_retry_after(error: Any) -> float | None:
    value = next(
        (text for name, text in (error.headers or {}).items() if name.lower() == "retry-after"), ""
    )
    if value.strip().isdigit():
        return float(value)
    when = parse_http_date(value)
    return (
        None
        if when is None
        else max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())
    )


def parse_http_date(text: str) -> datetime.datetime | None:
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=datetime.UTC)


def parse_json_body(error: Any) -> Any:
    try:
        return json.loads(error.body)
    except (TypeError, ValueError):
        return None


def extract_message(error: Any) -> str:
    """The server's short text for a person: the innermost of google.rpc.Status' details, or an upload's `error_message`."""
    body = parse_json_body(error)
    if not isinstance(body, dict):
        return redact_to_line(str(error.reason or ""))
    details = body.get("details")
    inner = (
        details[0].get("message")
        if isinstance(details, list) and details and isinstance(details[0], dict)
        else None
    )
    text = (
        inner
        if inner and inner != "Internal Server Error"
        else body.get("error_details") or body.get("message") or body.get("error_message")
    )
    return redact_to_line(
        str(text or error.reason or "").splitlines()[0] if text else str(error.reason or "")
    )


def describe_connection_error(error: HTTPError) -> str:
    cause = getattr(error, "reason", None) or error
    return redact_to_line(f"{type(error).__name__}: {str(cause).partition(': ')[2] or cause}")
