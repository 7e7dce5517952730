"""The page about names: its glossary names things that exist, its lists are those of the tests."""

from __future__ import annotations

import re
from pathlib import Path

from tests.contracts.test_files import VAGUE_NAMES
from tests.contracts.test_names import BANNED_WORDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "developer-guide" / "naming.md").read_text(encoding="utf-8")


def find_terms() -> set[str]:
    """Identifiers and files in the last column of the glossary."""
    glossary = PAGE.partition("## Glossary")[2]
    cells = [line.rsplit("|", 2)[1] for line in glossary.splitlines() if line.startswith("|")]
    return {term for cell in cells for term in re.findall(r"`([^`]+)`", cell)}


def find_list_after(sentence: str) -> set[str]:
    """The words of the paragraph after the one that contains a sentence."""
    paragraph = PAGE.partition(sentence)[2].split("\n\n")[1]
    return set(re.findall(r"`(\w+)`", paragraph))


def test_every_term_of_the_glossary_is_in_the_code() -> None:
    files = [path for name in ("components", "pipeline") for path in (ROOT / name).rglob("*.py")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in files)
    words = set(re.findall(r"\w+", sources)) | {path.name for path in files}
    missing = {
        term
        for term in find_terms()
        if not (
            (ROOT / term).exists() or words.issuperset({term} if ".py" in term else term.split("."))
        )
    }
    assert len(find_terms()) > 40
    assert missing == set()


def test_every_banned_word_is_on_the_page_in_one_of_its_forms() -> None:
    listed = find_list_after("refuses identifiers with these words")
    assert listed <= BANNED_WORDS
    assert {word for word in BANNED_WORDS if not word.startswith(tuple(listed))} == set()


def test_every_vague_name_is_on_the_page() -> None:
    assert find_list_after("refuses files and folders with these names") == VAGUE_NAMES
