"""Removes what may be a secret from texts that people or logs will see."""

from __future__ import annotations

import os
import re

MIN_SECRET_LENGTH = 8


TOKEN_PATTERN = re.compile(
    r"(?i)(\b|[-_])(authorization|token)[\"']?\s*[:=]\s*(bearer\s+)?\S+|bearer\s+\S+"
)


SECRET_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def redact(text: str, length: int = 300) -> str:
    """One line without what may be a secret: queries, user information, tokens and keys of this process."""
    for value in (os.environ.get(name, "") for name in SECRET_VARIABLES):
        text = text.replace(value, "***") if len(value) >= MIN_SECRET_LENGTH else text
    text = re.sub(r"\?[^\s'\")>]+=[^\s'\")>]*", "?***", text)
    text = re.sub(r"://[^/@\s]+@", "://***@", text)
    text = TOKEN_PATTERN.sub("***", text)
    return " ".join(text.split())[:length]
