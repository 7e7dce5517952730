"""The page of all options: one table per section, and the options that were renamed."""

from __future__ import annotations

import re
from typing import get_args, get_origin

from pydantic.fields import FieldInfo

from components.config.renamed_options import RENAMED_OPTIONS
from components.config.schema import Config
from components.config.section import Section
from docs.reference_pages.markdown import format_page, format_table, wrap
from docs.reference_pages.model_fields import format_field_type, format_value

INTRODUCTION = """\
This page lists every option of a run's configuration, for everyone who writes one.

A configuration is a YAML file with these sections. `kubert config` prints one with every option;
`--set section.option=value` changes one option. Values are read as YAML. Unknown options and values
that are not allowed are refused before anything runs.
"""
RENAMED = """\
These options had another name before version 0.1. An old name is refused with an error that
states the current name.
"""
_UNIT_WORDS = (
    "seconds",
    "fraction",
    "accuracy",
    "tokens",
    "rows",
    "steps",
    "epochs",
    "passes",
    "batches",
    "checkpoints",
    "restarts",
    "requests",
    "threads",
    "processes",
    "parts",
    "runs",
    "GPUs",
    "misclassifications",
)
_SYNONYMS = {"accuracy": "fraction", "passes": "epochs"}


def find_unit(field: FieldInfo) -> str:
    """The unit of a number: the first word of its description that names one."""
    annotation = field.annotation
    types = {annotation, *get_args(annotation)} if get_origin(annotation) else {annotation}
    if not types & {int, float}:
        return ""
    words = re.findall(r"[A-Za-z_]+", field.description or "")
    unit = next((word for word in words if word in _UNIT_WORDS), "")
    return _SYNONYMS.get(unit, unit)


def format_configuration() -> str:
    """The content of configuration.md."""
    sections = []
    for name, field in Config.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        summary = (section.__doc__ or "").splitlines()[0]
        rows = [
            (
                f"`{name}.{option}`",
                format_field_type(info),
                find_unit(info),
                format_value(info.default),
                info.description or "",
            )
            for option, info in section.model_fields.items()
        ]
        table = format_table(("option", "type", "unit", "default", "description"), rows)
        sections.append(f"## {name}\n\n{summary}\n\n{table}")
    renamed = format_table(
        ("old name", "name"), [(f"`{old}`", f"`{new}`") for old, new in RENAMED_OPTIONS.items()]
    )
    return format_page(
        "Configuration",
        wrap(INTRODUCTION),
        *sections,
        f"## Renamed options\n\n{wrap(RENAMED)}\n\n{renamed}",
    )
