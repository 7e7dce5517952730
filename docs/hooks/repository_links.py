"""Links of the pages to files outside docs/: to the repository's site, or plain text without one.

On a code host a link such as `../../components/train/trainer.py` opens the file. The site has no
such file: the link leads to `repo_url` if that is set in mkdocs.yml, and is plain text otherwise.
A link to a file that does not exist is left as it is, so that `mkdocs build --strict` refuses it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_BRANCH = "main"
_FENCE = re.compile(r"^[ >]*(?P<fence>`{3,}|~{3,})")
_CODE_SPAN = re.compile(r"(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(
    r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|!?\[[^\[\]]*\](?:\([^()]*\))?)*)\]"
    r"\((?P<target><[^>\n]*>|[^()\s]+)(?:\s+\"[^\"\n]*\")?\)"
)
_REFERENCE = re.compile(
    r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|!\[[^\[\]]*\]\([^()]*\))+)\](?:\[(?P<label>[^\[\]]*)\])?(?![(:\[])"
)
_DEFINITION = re.compile(
    r"^ {0,3}\[(?P<text>[^\[\]]+)\]:[ \t]+(?P<target>\S+)[ \t]*(?:\"[^\"\n]*\")?$", re.MULTILINE
)


@dataclass(frozen=True)
class Link:
    """A link or an image of a Markdown text: where it stands, what it shows, where it leads."""

    start: int
    end: int
    text: str
    target: str
    is_image: bool = False

    @property
    def path(self) -> str:
        """The target without its anchor."""
        return self.target.partition("#")[0]

    @property
    def anchor(self) -> str:
        """The target's anchor; empty without one."""
        return self.target.partition("#")[2]

    @property
    def is_external(self) -> bool:
        """Whether the target is a URL, not a file."""
        return re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|//", self.target) is not None


def blank_code(markdown: str) -> str:
    """The text, as long as before, with spaces for fenced code, code spans and comments.

    A code span inside the brackets of a link is blanked as well; the link itself stays.
    """
    lines, fence = [], ""
    for line in _COMMENT.sub(_blank, markdown).splitlines(keepends=True):
        match = _FENCE.match(line)
        if fence:
            lines.append(_blank_text(line))
            rest = line.strip(" >\n")
            if match and rest.startswith(fence) and not rest.strip(fence[0]):
                fence = ""
        elif match:
            fence = match["fence"]
            lines.append(_blank_text(line))
        else:
            lines.append(line)
    return _CODE_SPAN.sub(_blank, "".join(lines))


def find_links(markdown: str) -> list[Link]:
    """The links and images of a text, in order; not those in code.

    A link by reference, `[text][label]`, has the target of its label's definition. A definition
    that no link uses has no place among them.
    """
    blanked = blank_code(markdown)
    targets = {
        normalize_label(match["text"]): match["target"] for match in _DEFINITION.finditer(blanked)
    }
    taken = [match.span() for match in _DEFINITION.finditer(blanked)]
    found = []
    pending = [(0, len(markdown))]
    while pending:
        first, last = pending.pop()
        for match in _LINK.finditer(blanked, first, last):
            target = match["target"].removeprefix("<").removesuffix(">")
            found.append(_make_link(markdown, match, target))
            taken.append(match.span())
            pending.append(match.span("text"))  # an image as the text of a link
    for match in _REFERENCE.finditer(blanked) if targets else ():
        label = normalize_label(match["label"] or markdown[slice(*match.span("text"))])
        if label in targets and not any(a <= match.start() < b for a, b in taken):
            found.append(_make_link(markdown, match, targets[label]))
    return sorted(found, key=lambda link: (link.start, -link.end))


def find_undefined_references(markdown: str) -> list[str]:
    """The labels of links such as `[text][label]` that the text does not define."""
    blanked = blank_code(markdown)
    defined = {normalize_label(match["text"]) for match in _DEFINITION.finditer(blanked)}
    return [
        match["label"]
        for match in _REFERENCE.finditer(blanked)
        if match["label"] and normalize_label(match["label"]) not in defined
    ]


def normalize_label(label: str) -> str:
    """The label of a definition as it is compared: without case, with single spaces."""
    return " ".join(label.casefold().split())


def find_repository_path(root: Path, docs: Path, page: str, target: str) -> str | None:
    """The path, from the repository's root, of an existing file or folder outside docs/.

    `page` is the page's path below docs/. None for pages of the site and for what does not exist.
    """
    path = target.partition("#")[0]
    if not path or path.startswith("/"):
        return None
    folder = docs.relative_to(root).as_posix()
    found = posixpath.normpath(posixpath.join(folder, posixpath.dirname(page), path))
    is_inside_docs = found == folder or found.startswith(f"{folder}/")
    if is_inside_docs and (found.endswith(".md") or not found.endswith(".py")):
        return None
    if found.startswith("../") or not (root / found).exists():
        return None
    return found


def rewrite_links(markdown: str, root: Path, docs: Path, page: str, repo_url: str | None) -> str:
    """The page with every link to a repository file made a URL, or plain text without `repo_url`.

    Text that is not code already is followed by the file's path.
    """
    parts, position = [], 0
    for link in find_links(markdown):
        if link.is_external or link.is_image or link.start < position:
            continue
        path = find_repository_path(root, docs, page, link.target)
        if path is None:
            continue
        if repo_url:
            kind = "tree" if (root / path).is_dir() else "blob"
            anchor = f"#{link.anchor}" if link.anchor else ""
            url = f"{repo_url.rstrip('/')}/{kind}/{DEFAULT_BRANCH}/{path}{anchor}"
            replacement = f"[{link.text}]({url})"
        elif "`" in link.text or link.text == path:
            replacement = link.text
        else:
            replacement = f"{link.text} (`{path}`)"
        parts += [markdown[position : link.start], replacement]
        position = link.end
    return "".join([*parts, markdown[position:]])


def _make_link(markdown: str, match: re.Match[str], target: str) -> Link:
    text = markdown[slice(*match.span("text"))]
    return Link(match.start(), match.end(), text, target, bool(match["image"]))


def _blank(match: re.Match[str]) -> str:
    return _blank_text(match[0])


def _blank_text(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Called by mkdocs with the source of each page."""
    docs = Path(config["docs_dir"])
    root = Path(config["config_file_path"]).parent
    return rewrite_links(markdown, root, docs, page.file.src_uri, config["repo_url"])
