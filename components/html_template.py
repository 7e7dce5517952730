"""Jinja templates of the pages that kubert writes: escaped, strict, and valid UTF-8."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

# Not allowed in HTML or UTF-8: control characters but tab and line breaks, lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def load_templates(
    directory: Path, filters: Mapping[str, Callable[..., Any]]
) -> jinja2.Environment:
    """The templates in a directory, with further filters.

    Every value is escaped, after `replace_unprintable`; a value that is not defined is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(directory),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=replace_unprintable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment


def replace_unprintable(value: Any) -> Any:
    """The value, with U+FFFD for characters of a plain string that HTML does not allow."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value
