"""Mermaid and KaTeX from the site itself, on the pages that have diagrams or formulas.

The files come out of two Python packages that locks/docs-assets.txt pins. They are those that the
projects publish: the build fails if a checksum is another one.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "assets/vendor"
MERMAID: Final = "mermaid.min.js"
KATEX: Final = "katex.min.js"
KATEX_STYLE: Final = "katex.min.css"
FORMULAS: Final = "javascripts/formulas.js"
SHA256: Final = {
    MERMAID: "74d7c46dabca328c2294733910a8aa1ed0c37451776e8d5295da38a2b758fb9b",
    KATEX: "759450e87b7d6523ab99fc833330673f400a8cc1a87d0055e1ca261baf98d9e4",
}
DIAGRAM_MARK: Final = 'class="mermaid"'
FORMULA_MARK: Final = 'class="arithmatex"'


def find_assets() -> dict[str, Path]:
    """The path in the site -> the file in the environment's packages."""
    mermaid = find_package("mermaidx") / "assets" / "mermaid.js"
    katex = find_package("djangocms_katex") / "static" / "djangocms_katex" / "vendor" / "katex"
    assets = {MERMAID: mermaid, KATEX: katex / KATEX, KATEX_STYLE: katex / KATEX_STYLE}
    assets |= {f"fonts/{path.name}": path for path in sorted((katex / "fonts").glob("*.woff2"))}
    return {f"{FOLDER}/{name}": path for name, path in assets.items()}


def find_package(name: str) -> Path:
    """The directory of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{name} is not installed; build the site with `make docs`")
    return Path(spec.origin).parent


def check_checksum(name: str, content: bytes) -> None:
    """Raise RuntimeError if the file is not the one that its project published."""
    expected = SHA256.get(name)
    if expected and hashlib.sha256(content).hexdigest() != expected:
        raise RuntimeError(f"{name}: not the file of the published version; see {__file__}")


def add_elements(output: str, page_url: str) -> str:
    """The page with the scripts and the style sheet that its diagrams and formulas need."""
    root = "../" * page_url.count("/")
    style, scripts = "", []
    if DIAGRAM_MARK in output:
        scripts.append(f"{FOLDER}/{MERMAID}")
    if FORMULA_MARK in output:
        style = f'<link rel="stylesheet" href="{root}{FOLDER}/{KATEX_STYLE}">'
        scripts += [f"{FOLDER}/{KATEX}", FORMULAS]
    elements = "".join(f'<script src="{root}{script}"></script>' for script in scripts)
    return output.replace("</head>", f"{style}</head>", 1).replace(
        "</body>", f"{elements}</body>", 1
    )


def on_files(files: Any, *, config: Any) -> Any:
    """Called by mkdocs with the files of the site; adds the assets."""
    from mkdocs.structure.files import File

    for name, path in find_assets().items():
        content = path.read_bytes()
        check_checksum(Path(name).name, content)
        files.append(File.generated(config, name, content=content))
    return files


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Called by mkdocs with the HTML of each page."""
    return add_elements(output, page.url)
