"""Compares the output that a page shows with the output of its command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tests.support.documents.markdown_blocks import Block, DocumentError
from tests.support.documents.page_script import Output

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PATH = re.compile(r"(?<![\w])(?:~|\.{1,2})?/?(?:[\w.@%+-]+/)+[\w.@%+-]*|(?<![\w])~?/[\w.@%+-]+")
_HASH = re.compile(r"(?<!\d\.)\b(?=[a-f]*[0-9])[0-9a-f]{7,64}\b")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*(?:e[+-]?\d+)?")


def normalize_line(line: str) -> str:
    """The line without escape sequences; paths, hashes and numbers replaced by their kind."""
    line = _ESCAPE.sub("", line)
    for pattern, kind in ((_PATH, "PATH"), (_HASH, "HASH"), (_NUMBER, "0")):
        line = pattern.sub(kind, line)
    return " ".join(line.split())


def find_missing_line(shown: Sequence[str], printed: str) -> str | None:
    """The first shown line that the output does not have after the previous one, or None.

    A line `...` stands for any lines, `...` within a line for any text. Empty lines are ignored.
    """
    lines = iter([normalize_line(line) for line in printed.splitlines()])
    for line in shown:
        if normalize_line(line) in ("", "..."):
            continue
        pattern = ".*".join(re.escape(normalize_line(part)) for part in line.split("..."))
        # The iterator goes on where the previous line was found.
        if not any(re.fullmatch(rf"\s*{pattern}\s*", each) for each in lines):
            return line
    return None


def check_outputs(blocks: Sequence[Block], outputs: Sequence[Output]) -> None:
    """DocumentError for a shown line that the block before it has not printed."""
    printed = {output.block.line: output.text for output in outputs}
    for command, shown in pair_outputs(blocks):
        missing = find_missing_line(shown.lines, printed[command.line])
        if missing is not None:
            raise DocumentError(
                f"{shown.location}: the block at line {command.line} does not print\n"
                f"  {missing}\nin this position. It prints:\n{printed[command.line]}"
            )


def pair_outputs(blocks: Sequence[Block]) -> Iterator[tuple[Block, Block]]:
    """Each block of output with the command block before it."""
    command: Block | None = None
    for block in blocks:
        if block.language == "sh":
            command = block
        elif block.marks.is_output:
            if command is None or not command.is_run:
                raise DocumentError(
                    f"{block.location}: this output cannot be compared, because the commands "
                    "before it are not run; remove the mark <!-- output -->"
                )
            yield command, block
