"""Decision records: numbered without gaps, complete, in the index, and linked to existing files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
FILE_NAME = re.compile(r"(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md")
TITLE = re.compile(r"# (\d{4}): (\S.*)")
STATUS = re.compile(r"(Proposed|Accepted|Deprecated|Superseded by \d{4}), (\d{4}-\d{2}-\d{2})\.")
INDEX_ROW = re.compile(r"\| \[(\d{4})\]\(([^)]+)\) \| (.+) \| (\S+) \| (.+) \|")
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
SECTIONS = [
    "Status and date",
    "Context",
    "Decision",
    "Alternatives considered",
    "Consequences",
    "Where in the code",
]


class Record(NamedTuple):
    """The text of one record by section, and what the index must say about it."""

    file: str
    number: str
    title: str
    sections: dict[str, str]

    @property
    def index_row(self) -> tuple[str, str, str, str, str]:
        status = STATUS.match(self.sections["Status and date"])
        assert status is not None, f"{self.file}: its status is not `Accepted, YYYY-MM-DD.`"
        return (self.number, self.file, self.title, status[2], status[1].lower())


def parse_record(file: str, text: str) -> Record:
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    title = TITLE.match(head)
    assert title is not None, f"{file}: its first line is not `# NNNN: title`"
    pairs = (part.partition("\n") for part in parts)
    return Record(file, title[1], title[2], {name: body.strip() for name, _, body in pairs})


def find_record_errors(record: Record) -> list[str]:
    """What is wrong with the form of one record."""
    errors = []
    if not FILE_NAME.fullmatch(record.file) or not record.file.startswith(record.number):
        errors.append("file name")
    if list(record.sections) != SECTIONS:
        errors.append("sections")
    errors += [f"empty: {name}" for name, body in record.sections.items() if not body]
    if not STATUS.match(record.sections.get("Status and date", "")):
        errors.append("status")
    code = LINK.findall(record.sections.get("Where in the code", ""))
    if not any(link.startswith("../../") for link in code):
        errors.append("no link to code")
    return errors


def find_broken_links(file: Path, text: str) -> list[str]:
    """Relative links to files that do not exist."""
    return [link for link in LINK.findall(text) if not (file.parent / link).exists()]


def read_records() -> list[Record]:
    return [
        parse_record(path.name, path.read_text(encoding="utf-8"))
        for path in sorted(DECISIONS.glob("[0-9]*.md"))
    ]


def test_records_are_numbered_from_one_without_gaps() -> None:
    numbers = [int(record.number) for record in read_records()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 49


def test_every_record_has_its_sections_a_status_and_a_link_to_code() -> None:
    errors = {record.file: find_record_errors(record) for record in read_records()}
    assert {file: found for file, found in errors.items() if found} == {}


def test_the_index_lists_every_record_with_its_title_date_and_status() -> None:
    text = (DECISIONS / "README.md").read_text(encoding="utf-8")
    rows = [row.groups() for row in INDEX_ROW.finditer(text)]
    assert rows == [record.index_row for record in read_records()]


def test_every_link_of_a_record_leads_to_a_file() -> None:
    files = sorted(DECISIONS.glob("*.md"))
    broken = {
        file.name: find_broken_links(file, file.read_text(encoding="utf-8")) for file in files
    }
    assert {file: links for file, links in broken.items() if links} == {}


RECORD = "# 0001: Use x\n\n" + "".join(
    f"## {name}\n\n{body}\n\n"
    for name, body in zip(
        SECTIONS,
        ("Accepted, 2026-01-31.", "a", "b", "c", "d", "- [`Makefile`](../../Makefile)"),
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("file", "old", "new", "errors"),
    [
        pytest.param("0001-use-x.md", "", "", [], id="complete"),
        pytest.param("0002-use-x.md", "", "", ["file name"], id="other-number-in-its-name"),
        pytest.param("0001-use-x.md", "## Consequences\n\nd\n\n", "", ["sections"], id="missing"),
        pytest.param(
            "0001-use-x.md", "\nc\n", "\n", ["empty: Alternatives considered"], id="empty"
        ),
        pytest.param("0001-use-x.md", "Accepted, 2026-01-31", "Yes", ["status"], id="status"),
        pytest.param("0001-use-x.md", "../../Makefile", "x.md", ["no link to code"], id="no-code"),
    ],
)
def test_the_rule_about_records(file: str, old: str, new: str, errors: list[str]) -> None:
    text = RECORD.replace(old, new) if old else RECORD
    assert find_record_errors(parse_record(file, text)) == errors


def test_the_rule_about_links() -> None:
    text = "[a](../../Makefile) [b](template.md#x) [c](../missing.md)"
    assert find_broken_links(DECISIONS / "README.md", text) == ["../missing.md"]
