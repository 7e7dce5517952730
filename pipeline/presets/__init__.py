"""The configurations that come with kubert, and any configuration as a commented file with every option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from components.config.schema import Config
from components.config.section import Section
from components.errors import ConfigError

PRESETS_DIRECTORY = Path(__file__).parent
QUICKSTART = "quickstart"


def list_presets() -> list[str]:
    """The shipped configurations' names, quickstart first."""
    found = sorted(path.stem for path in PRESETS_DIRECTORY.glob("*.yaml"))
    return sorted(found, key=lambda name: name != QUICKSTART)


def find_preset(name: str) -> Path:
    """The file of a configuration given by path or by a shipped one's name; ConfigError lists the names."""
    path = Path(name)
    if path.is_file():
        return path
    if name in list_presets():
        return PRESETS_DIRECTORY / f"{name}.yaml"
    raise ConfigError(
        f"{name}: neither a file nor a shipped configuration ({', '.join(list_presets())})"
    )


def read_preset_comment(name: str) -> str:
    """The comment at the top of a configuration's file, without its # marks."""
    lines: list[str] = []
    for line in find_preset(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def render_config(config: Config, heading: str) -> str:
    """A YAML file that loads back as `config`: every option with its description, unit and default in a comment above it."""
    blocks = ["".join(f"# {line}".rstrip() + "\n" for line in heading.splitlines())]
    for name in Config.model_fields:
        section = getattr(config, name)
        title = (type(section).__doc__ or "").splitlines()[0]
        blocks.append(
            f"{name}:  # {title}\n"
            + "".join(_option(section, option) for option in type(section).model_fields)
        )
    return "\n".join(blocks)


def _option(section: Section, name: str) -> str:
    field = type(section).model_fields[name]
    value = getattr(section, name)
    default = "" if value == field.default else f" (default: {_inline(field.default)})"
    return f"  # {field.description}{default}\n  {name}: {_inline(value)}\n"


def _inline(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return (
        yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True)
        .removesuffix("\n")
        .removesuffix("\n...")
    )
