"""Every relative link, anchor and image of the Markdown files leads to something that exists.

Anchors are those that code hosts make of headings. External links are not looked up.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.hooks.repository_links import Link, blank_code, find_links, find_undefined_references

ROOT = Path(__file__).parents[3]
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(?P<text>.*?)[ \t#]*$", re.MULTILINE)
HTML_TARGET = re.compile(r"<(?P<tag>a|img)\b[^>]*\b(?:href|src)=[\"'](?P<target>[^\"']+)[\"']")
HTML_ANCHOR = re.compile(r"<a\b[^>]*\b(?:id|name)=[\"'](?P<name>[^\"']+)[\"']")
LINE_ANCHOR = re.compile(r"L(\d+)(?:-L(\d+))?")

ReadFile = Callable[[str], str]


def make_anchors(markdown: str) -> set[str]:
    """The anchors of a page: one per heading, numbered where headings are equal."""
    counts: Counter[str] = Counter()
    anchors = {match["name"] for match in HTML_ANCHOR.finditer(blank_code(markdown))}
    for heading in find_headings(markdown):
        slug = make_slug(heading)
        anchors.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return anchors


def find_headings(markdown: str) -> list[str]:
    """The texts of all headings outside code, as they are written."""
    return [match["text"] for match in HEADING.finditer(blank_fences(markdown))]


def blank_fences(markdown: str) -> str:
    """The text without fenced code; code spans stay."""
    kept = zip(markdown.splitlines(), blank_code(markdown).splitlines(), strict=True)
    return "\n".join("" if line.strip() and not blanked.strip() else line for line, blanked in kept)


def make_slug(heading: str) -> str:
    """The anchor of a heading: lower case, hyphens for spaces, no other punctuation."""
    text = re.sub(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])", r"\1", heading)
    text = re.sub(r"[^\w\- ]", "", text.replace("`", "").replace("*", "").strip().lower())
    return text.replace(" ", "-")


def find_problems(pages: Iterable[str], files: set[str], read: ReadFile) -> list[str]:
    """One line for each link of the pages that leads to nothing; `files` are all that exist."""
    folders = {parent for file in files for parent in list_parents(file)}
    problems = []
    for page in pages:
        markdown = read(page)
        targets = [link.target for link in find_links(markdown)]
        targets += [match["target"] for match in HTML_TARGET.finditer(blank_code(markdown))]
        undefined = find_undefined_references(markdown)
        problems += [f"{page}: [{label}] is not defined" for label in undefined]
        for target in targets:
            if reason := explain_broken_link(page, target, files, folders, read):
                problems.append(f"{page}: {target}: {reason}")
    return problems


def list_parents(file: str) -> list[str]:
    return [parent.as_posix() for parent in Path(file).parents]


def explain_broken_link(
    page: str, target: str, files: set[str], folders: set[str], read: ReadFile
) -> str:
    """Why the target does not exist; empty if it does, or if it is external."""
    link = Link(0, 0, "", unquote(target))
    if link.is_external:
        return ""
    if link.path.startswith("/"):
        return "an absolute path"
    path = page
    if link.path:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link.path))
    if path not in files and path not in folders:
        return "no such file"
    if link.anchor and not has_anchor(path, link.anchor, files, read):
        return "no such anchor"
    return ""


def has_anchor(path: str, anchor: str, files: set[str], read: ReadFile) -> bool:
    if path not in files:
        return False
    if path.endswith(".md"):
        return anchor in make_anchors(read(path))
    match = LINE_ANCHOR.fullmatch(anchor)
    return match is not None and int(match[2] or match[1]) <= len(read(path).splitlines())


def list_repository_files() -> set[str]:
    output = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return {file for file in output.split("\0") if file and (ROOT / file).exists()}


def read_repository_file(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_link_of_the_repository_leads_somewhere() -> None:
    files = list_repository_files()
    pages = sorted(file for file in files if file.endswith(".md"))
    assert len(pages) > 20
    assert find_problems(pages, files, read_repository_file) == []


PAGES: Mapping[str, str] = {
    "README.md": "# Top\n\n## Set `train.workers` up, *twice*\n\n## Notes\n\n## Notes\n",
    "docs/guide.md": "# Guide\n\n```sh\n# not a heading\n```\n",
    "docs/picture.svg": "<svg/>",
    "components/step.py": "one\ntwo\n",
}


def find_problems_in(markdown: str) -> list[str]:
    pages = {**PAGES, "docs/page.md": markdown}
    return find_problems(["docs/page.md"], set(pages), pages.__getitem__)


@pytest.mark.parametrize(
    "markdown",
    [
        "[a file](guide.md)",
        "[a file above](../README.md)",
        "[a folder](../components)",
        "[a folder](../components/)",
        "[a heading](../README.md#top)",
        "[a heading with code](../README.md#set-trainworkers-up-twice)",
        "[the second of two equal headings](../README.md#notes-1)",
        "# This page\n\n[itself](#this-page)",
        "[a line](../components/step.py#L2)",
        "![a picture](picture.svg)",
        "[![a picture that is a link](picture.svg)](guide.md)",
        "[by reference][guide]\n\n[guide]: guide.md",
        "[over two\nlines](guide.md)",
        '<img src="picture.svg" alt="">',
        "[external](https://example.com/missing.md#nothing)",
        "[mail](mailto:someone@example.com)",
        "`[code](missing.md)`",
        "```text\n[fenced](missing.md)\n```",
        "<!-- [a comment](missing.md) -->",
        "[x] is no link",
    ],
)
def test_accepts(markdown: str) -> None:
    assert find_problems_in(markdown) == []


@pytest.mark.parametrize(
    ("markdown", "problem"),
    [
        ("[a file](missing.md)", "missing.md: no such file"),
        ("[a file](README.md)", "README.md: no such file"),
        ("[a file outside](../../README.md)", "../../README.md: no such file"),
        ("[an anchor](guide.md#missing)", "guide.md#missing: no such anchor"),
        ("[an anchor](#missing)", "#missing: no such anchor"),
        ("[a comment in code](guide.md#not-a-heading)", "guide.md#not-a-heading: no such anchor"),
        ("[a third heading](../README.md#notes-2)", "../README.md#notes-2: no such anchor"),
        ("[a line](../components/step.py#L3)", "../components/step.py#L3: no such anchor"),
        ("![a picture](missing.png)", "missing.png: no such file"),
        ("[![a picture](missing.png)](guide.md)", "missing.png: no such file"),
        ("[by reference][guide]\n\n[guide]: missing.md", "missing.md: no such file"),
        ("[by reference][missing]", "[missing] is not defined"),
        ('<img src="missing.png">', "missing.png: no such file"),
        ("[absolute](/README.md)", "/README.md: an absolute path"),
    ],
)
def test_refuses(markdown: str, problem: str) -> None:
    assert find_problems_in(markdown) == [f"docs/page.md: {problem}"]
