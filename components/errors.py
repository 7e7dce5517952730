"""Exit codes of every kubert process, and the errors whose message tells the user what to do.

A KubertError ends its process with `exit_code` and its message, without a traceback. Any other
exception is a defect or a failure of the machine and ends with ExitCode.FAILURE. Training workers
use further codes to tell their launcher whether to restart them: `components.workers.exit_codes`.
"""

from __future__ import annotations

import unicodedata
from enum import IntEnum

MAX_SHOWN_CHARACTERS = 40
UNPRINTABLE_CATEGORIES = frozenset({"Cc", "Cs"})
REORDERING_CLASSES = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional classes of the characters that change the order in which others are shown."""


class ExitCode(IntEnum):
    """The exit codes of the `kubert` command and of the steps, each with a `description`.

    64, 65, 72 and 78 are those of sysexits.h. A step ends with them, and they are never retried;
    the `kubert` command reports all four as USER_ERROR.
    """

    description: str

    def __new__(cls, code: int, description: str) -> ExitCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.description = description
        return member

    SUCCESS = 0, "The command succeeded; for a run: a model was released."
    FAILURE = 1, "An unexpected error, or a failure that the user did not cause."
    USER_ERROR = 2, "The command line, the configuration or the data has to be changed."
    GATE_CLOSED = 3, "The run succeeded, but the gate refused the model; nothing was released."
    USAGE = 64, "A step was called wrongly (EX_USAGE)."
    DATA = 65, "The input data, or an artifact made from it, cannot be used (EX_DATAERR)."
    WORKERS_FAILED = (
        70,
        "The training workers failed in a way that no retry mends (EX_SOFTWARE).",
    )
    HARDWARE = 72, "A GPU that the configuration asks for is missing (EX_OSFILE)."
    CONFIG = 78, "The configuration is invalid, or does not fit the data (EX_CONFIG)."
    INTERRUPTED = 130, "Interrupted by SIGINT (Ctrl-C), or a run that was stopped by a signal."
    TERMINATED = 143, "A step or a pull was terminated by SIGTERM."


class KubertError(Exception):
    """A failure whose message tells the user what is wrong and what to do.

    The message may quote what was read: control characters in it are shown as escapes.
    """

    exit_code: int = ExitCode.FAILURE

    def __init__(self, message: object = "") -> None:
        super().__init__(escape_unprintable(str(message)))


class UsageError(KubertError):
    """A command was called wrongly."""

    exit_code = ExitCode.USAGE


class DataError(KubertError):
    """The input data, or an artifact made from it, cannot be used."""

    exit_code = ExitCode.DATA


class MissingArtifactError(DataError):
    """An artifact that an earlier step made is not there, or not complete: it has been deleted."""


class HardwareError(KubertError):
    """A GPU that the configuration asks for is missing: the node, or its driver, has to change."""

    exit_code = ExitCode.HARDWARE


class ConfigError(KubertError):
    """The configuration is invalid, or does not fit the data or the artifacts."""

    exit_code = ExitCode.CONFIG


USER_ERROR_CODES = frozenset(
    int(code) for code in (ExitCode.USAGE, ExitCode.DATA, ExitCode.HARDWARE, ExitCode.CONFIG)
)
"""Codes of steps and workers that only a change by the user can mend; never retried."""


def escape_unprintable(text: str) -> str:
    """The text with escapes such as \\x1b for control characters, save tab and line feed.

    Lone surrogates, which no stream encodes, are escaped, too, and so are characters that reorder
    what is shown, such as U+202E. Nothing that was read from a file can then move the cursor,
    change the colours, or show another text than it is, in a terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if _is_escaped(character) else character
        for character in text
    )


def _is_escaped(character: str) -> bool:
    if unicodedata.category(character) in UNPRINTABLE_CATEGORIES:
        return character not in "\n\t"
    return unicodedata.bidirectional(character) in REORDERING_CLASSES


def shorten_value(value: object, limit: int = MAX_SHOWN_CHARACTERS) -> str:
    """A value as text for a message: of a longer one the first `limit` characters, and dots."""
    text = str(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
