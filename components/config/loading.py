"""Loads a configuration from a YAML file and `--set` assignments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from components.config.renamed_options import RENAMED_OPTIONS
from components.config.schema import Config
from components.errors import ConfigError


def validate_config(values: Mapping[str, Any], source: str = "config") -> Config:
    """The configuration, or a ConfigError that names each wrong option, its value and what it may be."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}:\n" + "\n".join(_explain(e) for e in error.errors())) from None


def load_config(path: Path | None = None, assignments: Iterable[str] = ()) -> Config:
    """The configuration in a YAML file (or all defaults), with `section.option=value` assignments laid over it.

    Values are read as YAML. Raises ConfigError for an unreadable file, an unknown option or an impossible value.
    """
    values: dict[str, Any] = {}
    assignments = tuple(assignments)
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror or error}; `kubert config` prints one to start from"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        if loaded is not None and not isinstance(loaded, dict):
            raise ConfigError(
                f"{path}: must hold sections (data, model, train, ...), found a {type(loaded).__name__}"
            )
        values = loaded or {}
    for assignment in assignments:
        _assign(values, assignment)
    return validate_config(
        values,
        " with ".join(filter(None, [path.name if path else "", "--set" if assignments else ""]))
        or "config",
    )


def _assign(values: dict[str, Any], assignment: str) -> None:
    name, equals, text = assignment.partition("=")
    section, dot, option = name.strip().partition(".")
    if not (equals and dot and section and option):
        raise ConfigError(
            f"--set {assignment}: write section.option=value, for example train.epochs=3"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(
            f"--set {assignment}: {text!r} is not a YAML value; text with such signs stands in quotes: --set '{name}=\"...\"'"
        ) from None
    if not isinstance(values.setdefault(section, {}), dict):
        raise ConfigError(f"--set {assignment}: {section} is not a section of options")
    values[section] = {**values[section], option: value}


def _explain(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"]) or "config"
    if name in RENAMED_OPTIONS:
        return f"  {name}: this option is now called {RENAMED_OPTIONS[name]}"
    if error["type"] == "extra_forbidden":
        return f"  {name}: no such option; `kubert config` lists them all"
    given = (
        ""
        if isinstance(error["input"], dict | BaseModel)
        else f" (given: {_without_credentials(repr(error['input']))})"
    )
    return f"  {name}: {error['msg'].removeprefix('Value error, ')}{given}"


def _without_credentials(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//***@", text)
