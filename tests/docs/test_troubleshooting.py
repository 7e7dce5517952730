"""Every message that the troubleshooting page quotes is one that the code prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.documents.markdown_blocks import Block, read_blocks

ROOT = Path(__file__).parents[2]
PAGE = "docs/user-guide/troubleshooting.md"
PACKAGES = ("components", "pipeline")
PREFIX = re.compile(r"^(kubert: )?((tokenize|train|evaluate|gate|export): )?(what to do: )?")
PERCENT_FORMAT = re.compile(r"%(?:\.\d)?[dfrs]")
MIN_FIXED_SHARE = 0.3
MIN_FIXED_LETTERS = 6
MAX_DEPTH = 2
MIN_ENTRIES = 30


class Template(NamedTuple):
    """One line of a message in the source: the text between its placeholders."""

    fixed_parts: tuple[str, ...]

    @property
    def letters(self) -> int:
        """Number of letters outside of placeholders."""
        return count_letters("".join(self.fixed_parts))

    def match_values(self, message: str) -> tuple[str, ...] | None:
        """The values of the placeholders that print `message`, perhaps with more after a colon."""
        if not all(part in message for part in self.fixed_parts):
            return None
        pattern = "(.*?)".join(map(re.escape, self.fixed_parts))
        found = re.fullmatch(f"{pattern}(?:: (.*))?", message)
        return None if found is None else tuple(value or "" for value in found.groups())


def count_letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def join_spaces(text: str) -> str:
    """The text with each run of white space as one space."""
    return re.sub(r"\s+", " ", text)


def find_templates(source: str) -> Iterator[Template]:
    """The lines of all strings in a source file, except docstrings."""
    tree = ast.parse(source)
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(map(id, node.values))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [
                str(part.value) if isinstance(part, ast.Constant) else None for part in node.values
            ]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = [node.value]
        else:
            continue
        yield from split_into_lines(parts)


def split_into_lines(parts: Sequence[str | None]) -> Iterator[Template]:
    """One template per line; None stands for a placeholder."""
    fixed = [""]
    for part in parts:
        if part is None:
            fixed.append("")
            continue
        for index, piece in enumerate(re.split(r"(\n)", part)):
            if index % 2:
                yield build_template(fixed)
                fixed = [""]
                continue
            first, *others = PERCENT_FORMAT.split(piece)
            fixed[-1] += first
            fixed += others
    yield build_template(fixed)


def build_template(fixed_parts: Sequence[str]) -> Template:
    """The template with spaces as a page shows them, and without those at the line's ends."""
    parts = [*map(join_spaces, fixed_parts)]
    parts[0], parts[-1] = parts[0].lstrip(), parts[-1].rstrip()
    return Template(tuple(parts))


@cache
def load_templates() -> frozenset[Template]:
    return frozenset(
        template
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for template in find_templates(path.read_text(encoding="utf-8"))
        if template.letters >= MIN_FIXED_LETTERS
    )


def split_messages(block: Block) -> list[str]:
    """The messages of a block: each begins at the margin, its further lines are indented."""
    messages: list[str] = []
    for line in block.lines:
        if line.startswith(" ") and messages:
            messages[-1] += line
        else:
            messages.append(line)
    return [join_spaces(message) for message in messages]


def count_fixed_letters(message: str, templates: frozenset[Template], depth: int = 0) -> int:
    """Letters of the message that the best template prints, also of those within its values."""
    if depth > MAX_DEPTH or count_letters(message) < MIN_FIXED_LETTERS:
        return 0
    counts = [0]
    for template in templates:
        if (values := template.match_values(message)) is not None:
            inner = (count_fixed_letters(value, templates, depth + 1) for value in values)
            counts.append(template.letters + sum(inner))
    return max(counts)


def is_printed(message: str, templates: frozenset[Template]) -> bool:
    """Whether a template prints the message, and not only by its placeholders."""
    return any(
        count_fixed_letters(line, templates) >= max(MIN_FIXED_LETTERS, MIN_FIXED_SHARE * letters)
        for line in (message, PREFIX.sub("", message))
        if (letters := count_letters(line))
    )


def quoted_messages() -> list[tuple[str, str]]:
    blocks = [
        block
        for block in read_blocks(ROOT / PAGE, PAGE)
        if block.language == "text" and not block.marks.is_output
    ]
    return [(block.location, message) for block in blocks for message in split_messages(block)]


@pytest.mark.parametrize(("location", "message"), quoted_messages())
def test_quoted_messages_are_in_the_source(location: str, message: str) -> None:
    assert is_printed(message, load_templates()), f"{location}: no code prints: {message}"


def test_every_quoted_message_has_a_cause_and_a_remedy() -> None:
    _, _, text = (ROOT / PAGE).read_text(encoding="utf-8").partition("\n## ")
    entries = re.findall(r"^```text\n.*?^```\n(.*?)(?=^```|^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert len(entries) >= MIN_ENTRIES
    for entry in entries:
        assert re.match(r"\n- \*\*Cause:\*\* .+\n- \*\*Remedy:\*\* ", entry, re.DOTALL), entry


SOURCE = '''
"""A docstring that says: the file is damaged."""
raise DataError(
    f"{path}: the file is empty ({size} bytes); "
    f"remove it\\nlog: {log}"
)
logger.info("%s: version %d loaded in %.1f s", name, version, seconds)
'''


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("a.csv: the file is empty (0 bytes); remove it", True, id="f-string"),
        pytest.param("news: version 2 loaded in 1.5 s", True, id="percent-format"),
        pytest.param("a.csv: the file is blank (0 bytes); remove it", False, id="other-word"),
        pytest.param("a.csv: the file is empty (0 bytes)", False, id="incomplete"),
        pytest.param("A docstring that says: the file is damaged.", False, id="docstring"),
        pytest.param("log: nothing of this sentence is fixed", False, id="placeholder-only"),
    ],
)
def test_messages_are_found_by_their_fixed_words(message: str, expected: bool) -> None:
    assert is_printed(message, frozenset(find_templates(SOURCE))) is expected


def test_indented_lines_continue_a_message() -> None:
    block = Block("page.md", 1, "text", ("kubert: train: one", "  two", "what to do: three"))
    assert split_messages(block) == ["kubert: train: one two", "what to do: three"]
