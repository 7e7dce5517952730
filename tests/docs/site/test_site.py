"""The site's configuration names every page, and its hooks treat links and scripts as they should.

The site itself is built by `make docs`, in an environment of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.hooks.repository_links import blank_code, rewrite_links
from docs.hooks.site_assets import add_elements, check_checksum

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
LIST_ITEM = re.compile(r"(?P<indent> *)(?:[-*+]|\d+[.)]) ")
FENCE = re.compile(r"(?P<indent> *)(?:```|~~~)")


class SiteLoader(yaml.SafeLoader):
    """Reads mkdocs.yml; what it names of Python stays a name."""


SiteLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def read_config() -> dict[str, Any]:
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), SiteLoader)
    assert isinstance(config, dict)
    return config


def list_nav_pages(nav: Any) -> Iterator[str]:
    """The paths in a nav, which nests lists of titles and paths."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for value in nav.values():
            yield from list_nav_pages(value)
    else:
        for entry in nav:
            yield from list_nav_pages(entry)


def find_differences(markdown: str) -> list[str]:
    """Lines that code hosts and the site would render in different ways.

    The site's parser wants an empty line before a list or a table, and four spaces before what is
    part of a list item.
    """
    problems = []
    previous, is_in_list = "", False
    in_fence = False
    for number, (line, blanked) in enumerate(
        zip(markdown.splitlines(), blank_code(markdown).splitlines(), strict=True), start=1
    ):
        fence, item = FENCE.match(line), LIST_ITEM.match(blanked)
        if fence:
            in_fence = not in_fence
            if in_fence and len(fence["indent"]) % 4:
                problems.append(f"{number}: indent the code block by four spaces")
        if in_fence or fence:
            previous = line
            continue
        indent = len(line) - len(line.lstrip(" "))
        if item and len(item["indent"]) % 4:
            problems.append(f"{number}: indent the list by four spaces")
        elif item and previous.strip() and not is_in_list:
            problems.append(f"{number}: put an empty line before the list")
        elif is_in_list and not previous.strip() and 0 < indent < 4:
            problems.append(f"{number}: indent the paragraph of the list by four spaces")
        if line.startswith("|") and previous.strip() and not previous.startswith("|"):
            problems.append(f"{number}: put an empty line before the table")
        if item:
            is_in_list = True
        elif line.strip() and not indent and not previous.strip():
            is_in_list = False
        previous = line
    return problems


def test_navigation_names_every_page_once_and_nothing_else() -> None:
    named = sorted(list_nav_pages(read_config()["nav"]))
    assert named == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_site_loads_nothing_from_other_hosts() -> None:
    config = read_config()
    assert config["theme"]["font"] is False
    assert [url for key in ("extra_css", "extra_javascript") for url in config.get(key, [])] == [
        "stylesheets/kubert.css"
    ]


def test_hooks_and_styles_exist() -> None:
    config = read_config()
    assert [path for path in config["hooks"] if not (ROOT / path).is_file()] == []
    assert [path for path in config["extra_css"] if not (DOCS / path).is_file()] == []


def test_pages_read_alike_on_code_hosts_and_on_the_site() -> None:
    problems = [
        f"{path.relative_to(ROOT)}:{problem}"
        for path in sorted(DOCS.rglob("*.md"))
        for problem in find_differences(path.read_text(encoding="utf-8"))
    ]
    assert problems == []


@pytest.mark.parametrize(
    "markdown",
    [
        "Text.\n\n- one\n  continued\n- two\n\nText.",
        "1. one\n\n    ```sh\n    true\n    ```\n\n2. two",
        "- one\n    - nested\n\n    More of one.",
        "Text.\n\n| a |\n| --- |\n| b |",
        "```text\nText\n- no list\n| no table |\n```",
    ],
)
def test_both_renderers_read_alike(markdown: str) -> None:
    assert find_differences(markdown) == []


@pytest.mark.parametrize(
    ("markdown", "problem"),
    [
        ("Text:\n- one", "2: put an empty line before the list"),
        ("- one\n  - nested", "2: indent the list by four spaces"),
        ("1. one\n\n   More.", "3: indent the paragraph of the list by four spaces"),
        ("1. one\n\n   ```sh\n   true\n   ```", "3: indent the code block by four spaces"),
        ("Text:\n| a |\n| --- |", "2: put an empty line before the table"),
    ],
)
def test_renderers_differ(markdown: str, problem: str) -> None:
    assert find_differences(markdown) == [problem]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for path in ("components/train/trainer.py", "docs/guide/data.md", "docs/hooks/links.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    (tmp_path / "README.md").write_text("")
    return tmp_path


def rewrite(repository: Path, markdown: str, repo_url: str | None = None) -> str:
    return rewrite_links(markdown, repository, repository / "docs", "guide/data.md", repo_url)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("[`Trainer`](../../components/train/trainer.py)", "`Trainer`"),
        (
            "[the loop](../../components/train/trainer.py)",
            "the loop (`components/train/trainer.py`)",
        ),
        ("[README.md](../../README.md#top)", "README.md"),
        ("[a folder](../../components/train)", "a folder (`components/train`)"),
        ("[a hook](../hooks/links.py)", "a hook (`docs/hooks/links.py`)"),
        ("[by label][a]\n\n[a]: ../../README.md", "by label (`README.md`)\n\n[a]: ../../README.md"),
        ("[a page](data.md)", "[a page](data.md)"),
        ("[missing](../../missing.py)", "[missing](../../missing.py)"),
        ("[outside](../../../README.md)", "[outside](../../../README.md)"),
        ("[a URL](https://example.com/README.md)", "[a URL](https://example.com/README.md)"),
        ("`[code](../../README.md)`", "`[code](../../README.md)`"),
        ("```\n[code](../../README.md)\n```", "```\n[code](../../README.md)\n```"),
    ],
)
def test_link_without_a_repository_url(repository: Path, markdown: str, expected: str) -> None:
    assert rewrite(repository, markdown) == expected


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        (
            "[a file](../../README.md#top)",
            "[a file](https://example.com/r/blob/main/README.md#top)",
        ),
        ("[a folder](../../components)", "[a folder](https://example.com/r/tree/main/components)"),
    ],
)
def test_link_with_a_repository_url(repository: Path, markdown: str, expected: str) -> None:
    assert rewrite(repository, markdown, "https://example.com/r/") == expected


def test_page_without_diagrams_and_formulas_gets_no_script() -> None:
    page = "<html><head></head><body></body></html>"
    assert add_elements(page, "guide/data.html") == page


def test_page_gets_the_scripts_that_it_needs() -> None:
    page = '<head></head><body><pre class="mermaid"></pre><span class="arithmatex"></span></body>'
    output = add_elements(page, "guide/data.html")
    assert output.index("../assets/vendor/katex.min.css") < output.index("</head>")
    scripts = re.findall(r'<script src="([^"]+)">', output)
    assert scripts == [
        "../assets/vendor/mermaid.min.js",
        "../assets/vendor/katex.min.js",
        "../javascripts/formulas.js",
    ]


def test_another_file_than_the_published_one_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"mermaid\.min\.js"):
        check_checksum("mermaid.min.js", b"something else")
