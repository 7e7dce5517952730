"""The configuration of a run, as the functions of the API take it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.config.data import DataConfig
from components.config.loading import validate_section
from components.config.schema import Config
from components.errors import UsageError
from pipeline import presets

ConfigSource = str | Path | Config
"""A shipped configuration's name, a YAML file, or a configuration."""
Options = Mapping[str, object]
"""Options that are changed: {"train.epochs": 2}."""


def load_settings(config: ConfigSource, options: Options | None = None) -> Config:
    """The configuration with the options applied to it, as `--set` applies them.

    ConfigError for an option that does not exist or a value that does not fit.
    """
    if isinstance(config, Config):
        if options:
            raise UsageError(
                "options: cannot be applied to a Config object; give the name or the file of the "
                "configuration"
            )
        return config
    return presets.load_preset(os.fspath(config), format_assignments(options or {}))


def load_data_options(
    config: str | None,
    assignments: Sequence[str],
    sources: Sequence[str],
    text_columns: Sequence[str] | None,
    max_bad_rows: int | None,
    text_pair: Sequence[str] | None = None,
    *,
    of_command: bool = False,
) -> DataConfig:
    """The section `data` for rows that are to be scored; UsageError for other options.

    `text_columns` and `text_pair` stand for `data.text` and `data.text_pair`: at most one of them.
    Messages name options as they are given to the command, or to the function.
    """
    given, source_name = ("--set", "--source") if of_command else ("options:", "source")
    if text_columns is not None and text_pair is not None:
        raise UsageError("text and text_pair exclude each other; give the columns of one of them")
    for assignment in assignments:
        if not assignment.startswith("data."):
            raise UsageError(f"{given} {assignment}: only options of `data` have a meaning here")
        if assignment.partition("=")[0].strip() == "data.source":
            raise UsageError(
                f"{given} {assignment}: would have no effect; name the texts by {source_name}"
            )
    values: dict[str, Any] = presets.load_preset(config, assignments).data.model_dump()
    values["source"] = list(sources)
    if text_columns is not None:
        values |= {"text": tuple(text_columns), "text_pair": None}
    if text_pair is not None:
        del values["text"]
        values["text_pair"] = tuple(text_pair)
    if max_bad_rows is not None:
        values["max_bad_rows"] = max_bad_rows
    return validate_section(DataConfig, values, "options")


def format_assignments(options: Options) -> list[str]:
    """The options as `--set` takes them; UsageError for a value that JSON has no form for."""
    assignments = []
    for name, value in options.items():
        try:
            text = json.dumps(value, default=_format_value, ensure_ascii=False)
        except TypeError:
            raise UsageError(
                f"options[{name!r}]: {type(value).__name__} is no value of an option; "
                "use numbers, text, lists and None"
            ) from None
        assignments.append(f"{name}={text}")
    return assignments


def _format_value(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise TypeError
