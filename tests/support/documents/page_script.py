"""Runs the shell blocks of a page, in their order, in one bash.

Line N of the script is line N of the page, so that bash's own messages name the page's lines.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.documents.markdown_blocks import Block, DocumentError

TIMEOUT_SECONDS = 900
MAX_OUTPUT_LINES = 60
_BEGIN = "begin-of-block"
_PROLOGUE = (
    'set -eE; trap \'echo "$? $LINENO $BASH_COMMAND" >> "$KUBERT_TEST_FAILURES"\' ERR; '
    f'_begin() {{ printf "\\n{_BEGIN} %s\\n" "$1"; }}; '
)


@dataclass(frozen=True)
class Output:
    """What a block printed, standard output and error in the order in which they came."""

    block: Block
    text: str


def check_syntax(block: Block) -> None:
    """DocumentError if bash cannot parse the block on its own."""
    ended = subprocess.run(
        ["/bin/bash", "-n"], input=block.text, capture_output=True, text=True, timeout=30
    )
    if ended.returncode or ended.stderr:
        raise DocumentError(f"{block.location}: bash cannot parse this block:\n{ended.stderr}")


def build_script(blocks: Sequence[Block]) -> str:
    """The blocks as one script, at the lines that they have in the page."""
    lines: dict[int, str] = {}
    for block in blocks:
        end = block.line + len(block.lines) + 1
        lines |= dict(enumerate(block.lines, block.line + 1))
        opening, closing = f"_begin {block.line}", ""
        if block.marks.exit_code:
            # In a subshell, which may end; `set -e` has no effect in one whose code is tested.
            opening += "; set +e; ( set -e"
            closing = (
                f"); _code=$?; set -e; [ $_code -eq {block.marks.exit_code} ] || "
                f'{{ echo "exit code $_code instead of {block.marks.exit_code}"; exit 1; }}'
            )
        lines[block.line] = opening
        lines[end] = closing
    numbered = [lines.get(number, "") for number in range(1, max(lines, default=0) + 1)]
    return _PROLOGUE + "\n".join(numbered) + "\n"


def run_blocks(
    blocks: Sequence[Block],
    directory: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> list[Output]:
    """Run the blocks in `directory`; DocumentError with page, line, command and output."""
    for block in blocks:
        check_syntax(block)
    if not blocks:
        return []
    script, failures = directory / ".page.sh", directory / ".failures"
    script.write_text(build_script(blocks), encoding="utf-8")
    try:
        ended = subprocess.run(
            ["/bin/bash", str(script)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**(environment or os.environ), "KUBERT_TEST_FAILURES": str(failures)},
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout.decode("utf-8", "replace") if error.stdout else ""
        raise DocumentError(
            f"{blocks[0].page}: not finished after {timeout:.0f} s:\n{_shorten(printed)}"
        ) from None
    outputs = _split_outputs(blocks, ended.stdout)
    if ended.returncode:
        last = outputs[-1] if outputs else Output(blocks[0], ended.stdout)
        raise DocumentError(_describe_failure(last, ended.returncode, failures))
    return outputs


def _split_outputs(blocks: Sequence[Block], printed: str) -> list[Output]:
    by_line = {block.line: block for block in blocks}
    parts = re.split(rf"(?m)^{_BEGIN} (\d+)$", printed)[1:]
    return [
        Output(by_line[int(line)], text.strip("\n"))
        for line, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def _describe_failure(output: Output, code: int, failures: Path) -> str:
    """Name the line and command of the last error that bash noted."""
    block = output.block
    noted = failures.read_text(encoding="utf-8").splitlines() if failures.exists() else []
    first = [match for line in noted if (match := re.match(r"(\d+) (\d+) (.*)", line))]
    inside = [
        match for match in first if block.line < int(match[2]) <= block.line + len(block.lines)
    ]
    where = block.location
    if inside:
        code, where = int(inside[-1][1]), f"{block.page}:{inside[-1][2]}: {inside[-1][3]}"
    return f"{where}\nended with exit code {code}:\n{_shorten(output.text)}"


def _shorten(text: str) -> str:
    lines = text.splitlines()
    left_out = len(lines) - MAX_OUTPUT_LINES
    return "\n".join([f"... {left_out} lines", *lines[left_out:]] if left_out > 0 else lines)
