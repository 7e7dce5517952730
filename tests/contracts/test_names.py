"""Identifiers are the field's words: no banned word, no function that is a bare participle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("components", "pipeline", "docker", "benchmarks", "docs", "tests")
BANNED_WORDS = {
    "gang",
    "hopeless",
    "noun",
    "nouns",
    "place",
    "placed",
    "places",
    "said",
    "settle",
    "settled",
    "settles",
    "told",
    "trouble",
    "troubles",
    "verb",
    "verbs",
}
"""Words of the first code base that had several meanings, or none that a newcomer would guess."""
IRREGULAR_PARTICIPLES = {
    "begun",
    "bound",
    "built",
    "drawn",
    "found",
    "given",
    "gone",
    "held",
    "kept",
    "known",
    "left",
    "lost",
    "made",
    "met",
    "said",
    "seen",
    "sent",
    "shown",
    "spoken",
    "taken",
    "told",
    "torn",
    "written",
}
NOT_PARTICIPLES = {"embed", "feed", "need", "red", "seed", "shed", "speed"}


class Identifier(NamedTuple):
    """A name that a file binds: of a function, class, argument, variable or attribute."""

    file: str
    line: int
    name: str
    is_function: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.name}"


def read_identifiers(file: str, text: str) -> Iterator[Identifier]:
    """Every name that the file binds; what it only uses is bound somewhere else."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield Identifier(file, node.lineno, name, True)
            case ast.ClassDef(name=name):
                yield Identifier(file, node.lineno, name, False)
            case ast.arg(arg=name):
                yield Identifier(file, node.lineno, name, False)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield Identifier(file, node.lineno, name, False)
            case ast.alias(asname=str(name)):
                yield Identifier(file, node.lineno, name, False)
            case _:
                pass


def split_words(name: str) -> list[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)]


def has_banned_word(name: str) -> bool:
    return not BANNED_WORDS.isdisjoint(split_words(name))


def is_bare_participle(name: str) -> bool:
    """Whether a function's name is one word that is the past participle of a verb."""
    words = split_words(name)
    if len(words) != 1 or words[0] in NOT_PARTICIPLES:
        return False
    return words[0] in IRREGULAR_PARTICIPLES or re.fullmatch(r"[a-z]{2,}ed", words[0]) is not None


def all_identifiers() -> list[Identifier]:
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    assert files
    return [
        identifier
        for file in files
        for identifier in read_identifiers(
            str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
        )
    ]


def test_no_identifier_has_a_banned_word() -> None:
    found = [str(item) for item in all_identifiers() if has_banned_word(item.name)]
    assert found == []


def test_no_function_is_a_bare_participle() -> None:
    found = [
        str(item)
        for item in all_identifiers()
        if item.is_function and is_bare_participle(item.name)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("name", "is_banned"),
    [
        pytest.param("state_place", True, id="snake-case"),
        pytest.param("StatePlace", True, id="camel-case"),
        pytest.param("_TOLD", True, id="constant"),
        pytest.param("replace_file", False, id="part-of-a-word"),
        pytest.param("verbose", False, id="begins-like-one"),
    ],
)
def test_the_rule_about_banned_words(name: str, is_banned: bool) -> None:
    assert has_banned_word(name) == is_banned


@pytest.mark.parametrize(
    ("name", "is_participle"),
    [
        pytest.param("told", True, id="irregular"),
        pytest.param("_joined", True, id="regular-and-private"),
        pytest.param("join_columns", False, id="verb-and-object"),
        pytest.param("seed", False, id="noun"),
        pytest.param("is_finished", False, id="predicate"),
    ],
)
def test_the_rule_about_participles(name: str, is_participle: bool) -> None:
    assert is_bare_participle(name) == is_participle


@pytest.mark.parametrize(
    ("code", "names"),
    [
        pytest.param("def load(path): pass", ["load", "path"], id="function"),
        pytest.param("class Store:\n    size: int = 0", ["Store", "size"], id="class"),
        pytest.param(
            "self.root = x\nfrom a import b as c", ["root", "c"], id="attribute-and-alias"
        ),
    ],
)
def test_identifiers_are_what_a_file_binds(code: str, names: list[str]) -> None:
    assert sorted(item.name for item in read_identifiers("x.py", code)) == sorted(names)
