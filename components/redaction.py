"""Removes secrets from texts that users or logs will see."""

from __future__ import annotations

import os
import re

from components.config.environment import ENV_COOKIE, ENV_TOKEN

SECRET_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    ENV_TOKEN,
    ENV_COOKIE,
)
MIN_SECRET_LENGTH = 8
"""Shorter values of these variables are not masked: they would match parts of ordinary words."""
MAX_LINE_LENGTH = 300
_TOKEN = re.compile(
    r"(?i)(\b|[-_])(authorization|token)[\"']?\s*[:=]\s*(bearer\s+)?\S+|bearer\s+\S+"
)
_QUERY = re.compile(r"\?[^\s'\")>]+=[^\s'\")>]*")
_USER_INFORMATION = re.compile(r"://[^/@\s]+@")


def redact_secrets(text: str) -> str:
    """Mask URL queries, user information in URLs, tokens, and the values of SECRET_VARIABLES."""
    for value in (os.environ.get(name, "") for name in SECRET_VARIABLES):
        text = text.replace(value, "***") if len(value) >= MIN_SECRET_LENGTH else text
    text = _QUERY.sub("?***", text)
    text = _USER_INFORMATION.sub("://***@", text)
    return _TOKEN.sub("***", text)


def redact_to_line(text: str, max_length: int = MAX_LINE_LENGTH) -> str:
    """The text without secrets, as one line of at most `max_length` characters."""
    return " ".join(redact_secrets(text).split())[:max_length]
