"""The errors a person can act on, each with the exit code that its worker process ends with.

Codes are those of sysexits.h: 64 usage, 65 data, 78 config. None of them is ever retried; the `kubert` command turns
all three into 2. Anything else is a defect or the machine's, and ends with 1.
"""


class KubertError(Exception):
    """A failure whose message alone tells a person what is wrong and what to do."""

    exit_code = 1


class UsageError(KubertError):
    """A command was called wrongly."""

    exit_code = 64


class DataError(KubertError):
    """The input data, or an artifact made from it, cannot be used."""

    exit_code = 65


class ConfigError(KubertError):
    """The configuration is invalid, or does not fit the data or the artifacts."""

    exit_code = 78


USER_MISTAKES = frozenset({UsageError.exit_code, DataError.exit_code, ConfigError.exit_code})
