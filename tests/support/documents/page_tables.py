"""Tables of the operator guide's pages."""

from __future__ import annotations

import re

from tests.support.documents.page_directory import ROOT

Row = list[str]
GUIDE = ROOT / "docs" / "operator-guide"


def read_page(name: str) -> str:
    """The text of a page of the operator guide."""
    return (GUIDE / f"{name}.md").read_text(encoding="utf-8")


def read_table(page: str, section: str, number: int = 0) -> list[Row]:
    """Rows of a table below a heading, without the head; its cells without code marks."""
    text = read_page(page).split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.M)
    return [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in tables[number].splitlines()[2:]
    ]
