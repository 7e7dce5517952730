"""Configures `logging` for a kubert process: level, format and redaction, all to standard error.

Modules log with `logging.getLogger(__name__)` and never configure anything; a process calls
`configure_logging` once, at its start. Progress events are not log messages: `components.progress`
writes them.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
from contextlib import suppress

from components.config.environment import ENV_LOG_LEVEL
from components.errors import ConfigError
from components.redaction import redact_secrets

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEFAULT_LOG_LEVEL = "INFO"
LOGGER_NAMES = ("components", "pipeline", "__main__")
"""Loggers of kubert's own modules; `python -m` gives a module the name __main__."""
MAX_MESSAGE_CHARACTERS = 10_000
_KUBERNETES_MARKER = "KUBERNETES_SERVICE_HOST"


def configure_logging(
    level: str | None = None, json_lines: bool | None = None, *, verbose: bool = False
) -> None:
    """Send log messages to standard error; calling it again replaces the configuration.

    level: one of LOG_LEVELS; by default that of KUBERT_LOG_LEVEL, else INFO.
    json_lines: one JSON object per message; by default in pods, where a log collector reads them.
    verbose: what a command's --verbose sets: DEBUG unless `level` or KUBERT_LOG_LEVEL says
    otherwise. Raises ConfigError for an unknown level.
    """
    chosen = _parse_level(level, verbose)
    as_json = is_in_pod() if json_lines is None else json_lines
    handler = _StandardErrorHandler()
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    for name in LOGGER_NAMES:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(chosen)
        # KFP's executor and absl give the root logger handlers: messages would appear twice.
        logger.propagate = False


class _StandardErrorHandler(logging.Handler):
    """Writes to the current standard error; one that is closed or full ends no process."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):
            print(self.format(record), file=sys.stderr, flush=True)


def is_in_pod() -> bool:
    """Whether this process runs in a Kubernetes pod."""
    return bool(os.environ.get(_KUBERNETES_MARKER))


class PlainFormatter(logging.Formatter):
    """`12:34:56 WARNING components.storage.store: message`, for people at a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return _redact_lines(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object per message: time (UTC, ISO 8601), level, logger, message and exception."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        values = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _redact_lines(record.getMessage()),
        }
        if record.exc_info:
            values["exception"] = _redact_lines(self.formatException(record.exc_info))
        return json.dumps(values)


def _parse_level(level: str | None, verbose: bool) -> str:
    source, chosen = "log level", level
    if chosen is None and os.environ.get(ENV_LOG_LEVEL):
        source, chosen = ENV_LOG_LEVEL, os.environ[ENV_LOG_LEVEL]
    if chosen is None:
        return "DEBUG" if verbose else DEFAULT_LOG_LEVEL
    if chosen.upper() not in LOG_LEVELS:
        raise ConfigError(f"{source}={chosen!r}: unknown level; use one of {', '.join(LOG_LEVELS)}")
    return chosen.upper()


def _redact_lines(text: str) -> str:
    # Line by line: what follows `token:` on the next line is not a token.
    lines = text[:MAX_MESSAGE_CHARACTERS].splitlines()
    return "\n".join(redact_secrets(line) for line in lines)
