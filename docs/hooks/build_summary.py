"""Prints the number of pages and the time of a build in one line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

_start = time.monotonic()


def on_startup(*, command: str, dirty: bool) -> None:
    """Called by mkdocs before it reads the pages."""
    global _start
    _start = time.monotonic()


def on_post_build(*, config: Any) -> None:
    """Called by mkdocs when the site is complete."""
    site = Path(config["site_dir"])
    pages = sum(1 for path in site.rglob("*.html") if path.name != "404.html")
    print(f"{pages} pages in {time.monotonic() - _start:.1f} s: {site}")
