"""Checks the `kubert` commands of a shell block against the command line, without running them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from components.config.schema import Config
from pipeline.cli.main import app
from tests.support.documents.markdown_blocks import Block, DocumentError

_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")
_PUNCTUATION = "();<>|&\n"
_WORDS_BEFORE_COMMANDS = frozenset(
    {"sudo", "time", "exec", "if", "then", "else", "do", "while", "until", "!", "{", "nohup"}
)


def check_kubert_commands(block: Block) -> None:
    """DocumentError naming a command, option or `--set` name that does not exist."""
    for line, words in find_kubert_commands(block):
        try:
            check_arguments(words)
        except (ValueError, typer._click.exceptions.UsageError) as error:
            message = getattr(error, "message", str(error))
            raise DocumentError(
                f"{block.page}:{line}: kubert {shlex.join(words)}\n{message}"
            ) from None


def find_kubert_commands(block: Block) -> Iterator[tuple[int, list[str]]]:
    """Line and arguments of each command that starts kubert."""
    for line, text in _join_lines(block):
        for command in _split_commands(text):
            while command and (
                _ASSIGNMENT.fullmatch(command[0]) or command[0] in _WORDS_BEFORE_COMMANDS
            ):
                command = command[1:]
            if command and command[0].rpartition("/")[2] == "kubert":
                yield line, command[1:]


def check_arguments(words: list[str]) -> None:
    """UsageError or ValueError if the command line does not take these arguments."""
    command: Any = typer.main.get_command(app)
    context = None
    name = "kubert"
    while True:
        context = command.context_class(command, info_name=name, parent=context)
        values, rest, _ = command.make_parser(context).parse_args(list(words))
        if values.get("help") or values.get("version"):
            return
        if not hasattr(command, "commands"):
            break
        if not rest:
            raise ValueError(f"{context.command_path}: a command is missing")
        name, words = rest[0], rest[1:]
        if name not in command.commands:
            raise ValueError(f"{context.command_path}: no such command {name!r}")
        command = command.commands[name]
    if rest:
        raise ValueError(f"{context.command_path}: unexpected argument {rest[0]!r}")
    for parameter in command.params:
        value = values.get(parameter.name)
        if parameter.required and (value is None or value == ()):
            raise ValueError(f"{context.command_path}: {parameter.name} is missing")
    for assignment in values.get("assignments") or ():
        check_option_name(assignment)


def check_option_name(assignment: str) -> None:
    """ValueError if the section or option of section.option=value does not exist."""
    name, equals, _ = assignment.partition("=")
    section, _, option = name.partition(".")
    field = Config.model_fields.get(section)
    if not equals or field is None or option not in getattr(field.annotation, "model_fields", {}):
        raise ValueError(f"--set {assignment}: there is no option {name}")


def _join_lines(block: Block) -> Iterator[tuple[int, str]]:
    """Commands with their continuation lines, without the content of here-documents."""
    end: str | None = None
    text, start = "", 0
    for number, line in enumerate(block.lines, block.line + 1):
        if end is not None:
            end = None if line.strip() == end else end
            continue
        start = start if text else number
        text += line
        if text.endswith("\\"):
            text = text[:-1] + " "
            continue
        if _has_open_quote(text):
            text += "\n"
            continue
        if match := _HERE_DOCUMENT.search(text):
            end = match[2]
        yield start, text
        text = ""


def _has_open_quote(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def _split_commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a line, without redirections."""
    text = re.sub(r"\$\(", " ( ", text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    command: list[str] = []
    is_redirection = False
    for word in lexer:
        if word and not set(word) - set("<>"):
            is_redirection = True
            if command and command[-1].isdigit():
                command.pop()
        elif word and not set(word) - set(_PUNCTUATION):
            # `>&` and `&>` are redirections, all else separates commands.
            is_redirection = ">" in word
            if not is_redirection:
                yield command
                command = []
        elif is_redirection:
            is_redirection = False
        else:
            command.append(word)
    yield command
