"""Reads the log lines of workers, which in pods are JSON (`components.logging_config`)."""

from __future__ import annotations

import json


def unwrap_log_line(line: str) -> str:
    """Return the message of a JSON log message, as pods write them; any other line unchanged."""
    if not line.startswith("{"):
        return line
    try:
        record = json.loads(line)
        return f"{record['level']} {record['message']}"
    except (ValueError, KeyError, TypeError):
        return line
