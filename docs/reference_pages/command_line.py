"""The page of all commands, from the Typer application."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from components.errors import USER_ERROR_CODES, ExitCode
from docs.reference_pages.markdown import format_code, format_page, format_table, wrap
from pipeline.cli.main import app

INTRODUCTION = """\
This page lists every command of `kubert` with its arguments and options, for everyone who uses the
command line. `kubert COMMAND --help` prints the same.
"""
STEP_CODES = {*USER_ERROR_CODES, ExitCode.WORKERS_FAILED, ExitCode.TERMINATED}


def format_command_line() -> str:
    """The content of cli.md."""
    root = get_command(app)
    commands = list(_walk(root, "kubert"))
    index = format_table(
        ("command", "purpose"),
        [
            (f"[`{name}`](#{name.replace(' ', '-')})", _first_sentence(command.help or ""))
            for name, command in commands
            if not _subcommands(command)
        ],
    )
    codes = format_table(
        ("code", "meaning"),
        [(str(int(code)), code.description) for code in ExitCode if code not in STEP_CODES],
    )
    return format_page(
        "Command line",
        wrap(INTRODUCTION),
        index,
        "## Exit codes\n\n"
        + wrap(
            "Every command ends with one of these codes. The codes of the steps and workers are "
            "in [Exit codes](exit-codes.md)."
        )
        + f"\n\n{codes}",
        "## Global options\n\nThese options stand before the command: `kubert --debug run`.\n\n"
        + _format_options(root),
        *(_format_command(name, command) for name, command in commands if command is not root),
    )


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for part, subcommand in _subcommands(command).items():
        if not subcommand.hidden:
            yield from _walk(subcommand, f"{name} {part}")


def _subcommands(command: Any) -> dict[str, Any]:
    return getattr(command, "commands", {})


def _format_command(name: str, command: Any) -> str:
    if subcommands := _subcommands(command):
        names = ", ".join(
            f"[`{part}`](#{f'{name} {part}'.replace(' ', '-')})" for part in subcommands
        )
        return f"## {name}\n\n{wrap(command.help)}\n\n{wrap(f'Commands: {names}.')}"
    level = "##" if name.count(" ") == 1 else "###"
    arguments = [parameter for parameter in command.params if _is_argument(parameter)]
    usage = " ".join([name, "[OPTIONS]", *map(_format_usage, arguments)])
    parts = [f"{level} {name}", wrap(command.help), f"```text\n{usage}\n```"]
    if arguments:
        rows = [
            (
                format_code(_argument_name(argument)),
                "yes" if argument.required else "no",
                _format_default(argument),
                argument.help or "",
            )
            for argument in arguments
        ]
        parts.append(format_table(("argument", "required", "default", "description"), rows))
    if options := _format_options(command):
        parts.append(options)
    return "\n\n".join(part.strip("\n") for part in parts)


def _format_options(command: Any) -> str:
    rows = [
        (
            ", ".join(map(format_code, [*option.opts, *option.secondary_opts])),
            _format_option_type(option),
            _format_default(option),
            option.help or "",
        )
        for option in command.params
        if not _is_argument(option) and not option.hidden and option.name != "help"
    ]
    return format_table(("option", "value", "default", "description"), rows) if rows else ""


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _argument_name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _format_usage(argument: Any) -> str:
    name = _argument_name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _format_option_type(option: Any) -> str:
    if option.is_flag:
        return "flag"
    annotation = option.type_descriptor.annotation
    values = getattr(annotation, "__args__", ())
    if values and all(isinstance(value, str) for value in values):
        name = ", ".join(map(format_code, values))
    else:
        plain = re.sub(r"^list\[(.*)\]$", r"\1", getattr(annotation, "__name__", str(annotation)))
        if values:
            plain = getattr(values[0], "__name__", plain)
        names = {"str": "TEXT", "Path": "PATH", "int": "INTEGER", "float": "NUMBER"}
        name = format_code(str(option.metavar or names.get(plain, plain.upper())))
    if option.min is not None or option.max is not None:
        name += "".join(
            f" {sign} {limit:g}"
            for sign, limit in (("≥", option.min), ("≤", option.max))
            if limit is not None
        )
    required = ", required" if option.required else ""
    return f"{name}, repeatable{required}" if option.multiple else f"{name}{required}"


def _format_default(parameter: Any) -> str:
    default = parameter.default
    if default is None or default is False or default in ([], ()):
        return ""
    return format_code(str(getattr(default, "value", default)))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.])\s|\n\n", text.strip(), maxsplit=1)[0]
