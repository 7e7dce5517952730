"""Fenced code blocks of a Markdown page, with the marks that say how the tests treat them.

A mark is a comment on the line above the block:

    <!-- needs: cluster -->   not run (cluster, docker, network, gpu, cloud, server, time)
    <!-- exit: 2 -->          ends with this exit code
    <!-- output -->           a text block: these lines are part of the previous block's output
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NEEDS = frozenset({"cluster", "docker", "network", "gpu", "cloud", "server", "time"})
OTHER_SHELL_NAMES = frozenset({"bash", "shell", "console", "zsh", "shell-session", "terminal"})
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*([^\s`{]*)")
_COMMENT = re.compile(r"^\s*<!--\s*(.*?)\s*-->\s*$")
_MARK = re.compile(r"^(needs|exit|output)\b")


class DocumentError(AssertionError):
    """A page that breaks the conventions, or whose commands fail; the message names the line."""


@dataclass(frozen=True)
class Marks:
    """What the comments above a block say."""

    needs: frozenset[str] = frozenset()
    exit_code: int = 0
    is_output: bool = False


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its lines without indentation, and the line of its fence."""

    page: str
    line: int
    language: str
    lines: tuple[str, ...]
    marks: Marks = Marks()

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def location(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether the tests run this block."""
        return self.language == "sh" and not self.marks.needs


def read_blocks(path: Path, page: str) -> list[Block]:
    """The blocks of a file; `page` is its name in messages."""
    return parse_blocks(path.read_text(encoding="utf-8"), page)


def parse_blocks(text: str, page: str) -> list[Block]:
    """All blocks of a page; DocumentError for an unknown mark, or one that marks no block."""
    return list(_iterate_blocks(text.splitlines(), page))


def _iterate_blocks(lines: list[str], page: str) -> Iterator[Block]:
    comments: list[str] = []
    index = 0
    while index < len(lines):
        location = f"{page}:{index + 1}"
        if fence := _FENCE.match(lines[index]):
            end = _find_end(lines, index, fence[2], location)
            content = [_remove_indent(line, len(fence[1])) for line in lines[index + 1 : end]]
            marks = _parse_marks(comments, fence[3], location)
            block = Block(page, index + 1, fence[3], tuple(content), marks)
            _check_prompts(block)
            yield block
            comments, index = [], end + 1
            continue
        if comment := _COMMENT.match(lines[index]):
            comments.append(comment[1])
        else:
            _check_attached(comments, location)
            comments = []
        index += 1
    _check_attached(comments, f"{page}:{len(lines)}")


def _find_end(lines: list[str], start: int, fence: str, location: str) -> int:
    for index in range(start + 1, len(lines)):
        line = lines[index].strip()
        if line.startswith(fence) and not line.strip(fence[0]):
            return index
    raise DocumentError(f"{location}: this block has no end")


def _remove_indent(line: str, indent: int) -> str:
    return line[indent:] if not line[:indent].strip() else line.lstrip()


def _parse_marks(comments: list[str], language: str, location: str) -> Marks:
    needs: frozenset[str] = frozenset()
    exit_code, is_output = 0, False
    for comment in comments:
        name, _, value = (part.strip() for part in comment.partition(":"))
        if name == "needs" and language in ("sh", "yaml"):
            needs |= {each.strip() for each in value.split(",")}
        elif name == "exit" and language == "sh" and re.fullmatch(r"[0-9]{1,3}", value):
            exit_code = int(value)
        elif comment == "output" and language == "text":
            is_output = True
        else:
            raise DocumentError(f"{location}: unknown mark <!-- {comment} --> above {language!r}")
    if not needs <= NEEDS:
        raise DocumentError(
            f"{location}: unknown need {', '.join(sorted(needs - NEEDS))}; "
            f"known: {', '.join(sorted(NEEDS))}"
        )
    return Marks(needs, exit_code, is_output)


def _check_attached(comments: list[str], location: str) -> None:
    for comment in comments:
        if _MARK.match(comment):
            raise DocumentError(f"{location}: <!-- {comment} --> is not directly above a block")


def _check_prompts(block: Block) -> None:
    if block.language in OTHER_SHELL_NAMES:
        raise DocumentError(f"{block.location}: write ```sh instead of ```{block.language}")
    if block.language == "sh":
        for number, line in enumerate(block.lines, block.line + 1):
            if line.startswith("$ "):
                raise DocumentError(f"{block.page}:{number}: a command without the prompt: {line}")
