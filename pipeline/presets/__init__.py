"""The shipped configurations, and any configuration rendered as a commented YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.config.loading import load_config
from components.config.schema import Config, DataConfig
from components.config.section import Section
from components.errors import ConfigError

PRESETS_DIRECTORY = Path(__file__).parent
DEFAULT_PRESET = "quickstart"


def list_presets() -> list[str]:
    """The names of the shipped configurations, `quickstart` first."""
    names = sorted(path.stem for path in PRESETS_DIRECTORY.glob("*.yaml"))
    return sorted(names, key=lambda name: name != DEFAULT_PRESET)


def find_preset(name: str) -> Path:
    """The file of a configuration, given as a path or as a shipped configuration's name.

    Raises ConfigError with the list of names for anything else.
    """
    path = Path(name)
    if path.is_file():
        return path
    if name in list_presets():
        return PRESETS_DIRECTORY / f"{name}.yaml"
    names = ", ".join(list_presets())
    raise ConfigError(f"{name}: neither a file nor a shipped configuration ({names})")


def load_preset(name: str | None, assignments: Sequence[str] | None = None) -> Config:
    """Load a configuration by path or name and apply `section.option=value` assignments.

    Without a name, the defaults of all options.
    """
    return load_config(find_preset(name) if name else None, assignments or ())


def read_preset_comment(name: str) -> str:
    """The comment at the top of a configuration's file, without its # marks."""
    lines: list[str] = []
    for line in find_preset(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def render_config(config: Config, heading: str) -> str:
    """A YAML file that loads back as `config`, with each option's description and default."""
    blocks = ["".join(f"# {line}".rstrip() + "\n" for line in heading.splitlines())]
    for name in Config.model_fields:
        section = getattr(config, name)
        title = (type(section).__doc__ or "").splitlines()[0]
        options = "".join(_render_option(section, option) for option in type(section).model_fields)
        blocks.append(f"{name}:  # {title}\n{options}")
    return "\n".join(blocks)


def _render_option(section: Section, name: str) -> str:
    field = type(section).model_fields[name]
    value = getattr(section, name)
    default = "" if value == field.default else f" (default: {_to_inline_yaml(field.default)})"
    is_excluded = isinstance(section, DataConfig) and name == "text" and section.text_pair
    mark = "# " if is_excluded else ""
    return f"  # {field.description}{default}\n  {mark}{name}: {_to_inline_yaml(value)}\n"


def _to_inline_yaml(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
