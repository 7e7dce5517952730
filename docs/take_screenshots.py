"""Makes the pictures in docs/images from a real run: `make screenshots`.

terminal.svg           a finished `kubert run`, as a terminal of 100 columns shows it
terminal_training.svg  the same terminal while the model is trained
report.png             the HTML report of that run, by Chromium without a window
explanation.png        the report's explanation of the most confident mistake

python -m docs.take_screenshots [--output DIR] [--directory DIR] [--only terminal|report]
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

IMAGES = Path(__file__).parent / "images"
COLUMNS, ROWS = 100, 40
REPORT_SIZE = 1000, 1110
"""Of the picture of the report, in CSS pixels: its head and the confusion matrix."""
EXPLANATION_SIZE = 1000, 330
"""Of the picture of an explanation: the text in colours, and how its contributions add up."""
EXPLANATION = "explanation-1"
ONLY_EXPLANATION = f"""
main > :not(:has(#{EXPLANATION})), main section > :not(#{EXPLANATION}) {{ display: none; }}
main section, #{EXPLANATION} {{ margin: 0; border: 0; padding: 0; }} main {{ padding-top: 24px; }}
"""
"""Style that leaves one explanation of the report."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHOWN_DIRECTORY = "/home/you/kubert"
"""What the pictures show instead of the directory in which the run was made."""
THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace",
    "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace",
)
"""rich's picture of a terminal without the fonts that it loads from the network."""
_CONTROLS = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)")


class ScreenshotError(Exception):
    """A picture that cannot be made; the message says what to do."""


class Screen:
    """The lines of a terminal; knows the control sequences that rich writes."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = 0

    def write(self, part: str) -> None:
        """Apply text, a line break or one control sequence; colours stay in the lines."""
        if part == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append("")
        elif part == "\r":
            pass  # rich erases a line before it writes it again
        elif match := re.fullmatch(r"\x1b\[(\d*)([A-Za-z])", part):
            if match[2] == "A":
                self._row = max(0, self._row - int(match[1] or 1))
            elif match[2] == "K":
                self.lines[self._row] = ""
        if not part.startswith(("\x1b", "\r", "\n")) or part.endswith("m"):
            self.lines[self._row] += part


def iterate_screens(recording: str) -> Iterator[list[str]]:
    """The terminal's lines before each erased line, and at the end."""
    screen = Screen()
    for part in filter(None, _CONTROLS.split(recording)):
        if part.endswith("K") and part.startswith("\x1b"):
            yield list(screen.lines)
        screen.write(part)
    yield list(screen.lines)


def find_training_screen(recording: str) -> list[str]:
    """The terminal about halfway through the training; ScreenshotError if none shows it."""
    screens = [
        lines
        for lines in iterate_screens(recording)
        if any("examples/s" in line and line.endswith("left") for line in map(_plain, lines))
    ]
    if not screens:
        raise ScreenshotError(
            "no training in this run, its result was reused: take the pictures in a new directory"
        )
    return screens[len(screens) // 2]


def draw_terminal(lines: Sequence[str], command: str) -> str:
    """An SVG of the terminal after `command` has printed the lines."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    console.print(Text.assemble(("$ ", "bold green"), command))
    last = max((index for index, line in enumerate(lines) if _plain(line).strip()), default=-1)
    for line in lines[: last + 1]:
        console.print(Text.from_ansi(line.rstrip()))
    return console.export_svg(
        title="kubert", theme=THEME, code_format=SVG_FORMAT, unique_id="kubert"
    )


def record_terminal(command: Sequence[str], directory: Path) -> str:
    """What the command writes to a terminal of COLUMNS; ScreenshotError if it fails."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen(
        command, cwd=directory, stdin=follower, stdout=follower, stderr=follower, env=environment
    )
    os.close(follower)
    chunks = []
    while chunk := _read_terminal(leader):
        chunks.append(chunk)
    os.close(leader)
    recording = b"".join(chunks).decode("utf-8", "replace")
    if code := process.wait():
        raise ScreenshotError(f"{' '.join(command)} ended with exit code {code}:\n{recording}")
    return recording.replace(str(directory), SHOWN_DIRECTORY)


def find_browser() -> str:
    """The browser on PATH; ScreenshotError naming what to install."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise ScreenshotError(
        f"none of {', '.join(BROWSERS)} is on PATH, and pictures of the report are taken "
        "with it; install it (Debian: apt-get install chromium), or make only the others: "
        "--only terminal"
    )


def photograph_page(browser: str, page: Path, picture: Path, size: tuple[int, int]) -> None:
    """Write a PNG of the top of an HTML page; ScreenshotError if the browser makes none."""
    width, height = size
    with tempfile.TemporaryDirectory(prefix="kubert-browser-") as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--screenshot={picture}",
            page.absolute().as_uri(),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if ended.returncode or not picture.exists():
        raise ScreenshotError(f"{browser} took no picture of {page}:\n{ended.stderr}")


def find_report(workdir: Path) -> Path:
    """The report of the newest run; ScreenshotError if the work directory has none."""
    pages = sorted(
        workdir.glob("artifacts/*/evaluate/report/report.html"),
        key=lambda page: page.stat().st_mtime,
    )
    if not pages:
        raise ScreenshotError(f"{workdir}: no report; run `kubert run` there first")
    return pages[-1]


def take_terminal_pictures(directory: Path, output: Path) -> None:
    """Run the pipeline in `directory`; write terminal.svg, and terminal_training.svg."""
    recording = record_terminal(["kubert", "run"], directory)
    *_, finished = iterate_screens(recording)
    training = find_training_screen(recording)
    for name, lines in (("terminal.svg", finished), ("terminal_training.svg", training)):
        (output / name).write_text(draw_terminal(lines, "kubert run"), encoding="utf-8")


def take_report_pictures(browser: str, report: Path, output: Path) -> None:
    """Write report.png, and explanation.png; ScreenshotError for a report that explains nothing."""
    page = report.read_text(encoding="utf-8")
    if f'id="{EXPLANATION}"' not in page:
        raise ScreenshotError(f"{report}: explains no mistake; run with evaluate.explain_errors=5")
    photograph_page(browser, report, output / "report.png", REPORT_SIZE)
    with tempfile.TemporaryDirectory(prefix="kubert-page-") as temporary:
        part = Path(temporary) / "explanation.html"
        part.write_text(page.replace("</style>", f"{ONLY_EXPLANATION}</style>"), encoding="utf-8")
        photograph_page(browser, part, output / "explanation.png", EXPLANATION_SIZE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description="Makes the pictures in docs/images.")
    parser.add_argument("--output", type=Path, default=IMAGES, help="where the pictures go")
    parser.add_argument(
        "--directory",
        type=Path,
        help="where `kubert run` runs, in .kubert (default: a temporary directory)",
    )
    parser.add_argument(
        "--only", choices=("terminal", "report"), help="make only these; a report must exist"
    )
    options = parser.parse_args(arguments)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        browser = None if options.only == "terminal" else find_browser()
        with tempfile.TemporaryDirectory(prefix="kubert-screenshots-") as temporary:
            directory = (options.directory or Path(temporary)).absolute()
            if options.only != "report":
                take_terminal_pictures(directory, options.output)
            if browser is not None:
                report = find_report(directory / ".kubert")
                take_report_pictures(browser, report, options.output.absolute())
    except ScreenshotError as error:
        print(f"take_screenshots: {error}", file=sys.stderr)
        return 2
    return 0


def _plain(line: str) -> str:
    return _CONTROLS.sub("", line).rstrip()


def _read_terminal(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux: the last process has closed the terminal
        return b""


if __name__ == "__main__":
    sys.exit(main())
