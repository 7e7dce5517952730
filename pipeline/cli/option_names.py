"""Options by the names that a command has for them, in messages that name the configuration's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from components.errors import KubertError


@contextmanager
def translated_option_names(names: Mapping[str, str]) -> Iterator[None]:
    """Rename options in the message of a KubertError that the block, or the function, raises.

    `names` are what the command calls each option of the configuration. An option that the user
    has written as --set SECTION.OPTION keeps its name.
    """
    try:
        yield
    except KubertError as error:
        error.args = (rename_options(str(error), names),)
        raise


def rename_options(message: str, names: Mapping[str, str]) -> str:
    """The message with these names replaced, the longest first.

    A name that ends with `=` is that of an argument of the Python API, and its value follows.
    """
    longest_first = sorted(names, key=len, reverse=True)
    patterns = (
        re.escape(name) + ("" if name.endswith("=") else r"(?!\w)") for name in longest_first
    )
    pattern = rf"(?<![\w.])(?<!--set )({'|'.join(patterns)})"
    return re.sub(pattern, lambda match: names[match[1]], message)
