"""The pictures in docs/images: how they are made, and what the pages show."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.evaluate.report_page import render_report
from docs import take_screenshots
from docs.take_screenshots import (
    COLUMNS,
    Screen,
    ScreenshotError,
    draw_terminal,
    find_browser,
    find_report,
    find_training_screen,
    iterate_screens,
    record_terminal,
    take_report_pictures,
)
from pipeline.run_state import STEP_NAMES
from tests.support.documents.page_directory import ROOT
from tests.support.releases.made_explanation import make_explanation
from tests.support.releases.made_report import report_content

IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 300_000
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
MIN_ALT_WORDS = 4
TINY_RUN = [
    "kubert",
    "run",
    *(
        part
        for option in (
            "model.encoder=scratch",
            "model.hidden_size=16",
            "model.intermediate_size=16",
            "model.vocab_size=1000",
            "train.epochs=3",
            "train.learning_rate=0.01",
            "evaluate.min_accuracy=0",
            "evaluate.allow_unpredicted_classes=true",
        )
        for part in ("--set", option)
    ),
]
PROGRESS_PROGRAM = """
import time
from rich.console import Console
from components.progress import ProgressEvent
from pipeline.progress_bar import ProgressView

console = Console(highlight=False)
with ProgressView(console) as view:
    for step in ("tokenize", "train"):
        view.show(ProgressEvent(step, kind="started"))
        for done in range(1, 4):
            metrics = {"loss": 1 / done, "examples_per_second": 100.0, "seconds_left": 3 - done}
            if step == "train":
                view.show(ProgressEvent(step, f"epoch {done}", done=done, total=3, metrics=metrics))
            time.sleep(0.2)
        view.show(ProgressEvent(step, kind="finished", seconds=1.5))
console.print("end")
"""


def read_svg_text(svg: str) -> str:
    """The characters of an SVG picture."""
    root = ET.fromstring(svg)
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    return " ".join(" ".join("".join(each.itertext()) for each in texts).split())


def find_images() -> Iterator[tuple[Path, str, Path]]:
    """Page, alternative text and file of each picture that the pages show."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for alt, target in IMAGE.findall(page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                yield page, alt, page.parent / target


def test_every_picture_exists_and_has_an_alternative_text() -> None:
    images = list(find_images())
    assert images
    for page, alt, image in images:
        assert image.is_file(), f"{page}: {image}"
        assert len(alt.split()) >= MIN_ALT_WORDS, f"{page}: {image.name} needs a longer alt text"


def test_every_picture_is_shown_by_a_page() -> None:
    shown = {image.resolve() for _, _, image in find_images()}
    assert {path for path in IMAGES.iterdir() if path.resolve() not in shown} == set()


def test_no_picture_is_too_large() -> None:
    sizes = {path.name: path.stat().st_size for path in IMAGES.iterdir()}
    assert {name: size for name, size in sizes.items() if not 500 < size < MAX_BYTES} == {}


def test_pictures_load_nothing_from_the_network() -> None:
    for path in IMAGES.glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}, path


@pytest.mark.parametrize("name", ["flow.svg", "terminal.svg"])
def test_the_pictures_show_all_steps(name: str) -> None:
    words = read_svg_text((IMAGES / name).read_text(encoding="utf-8")).split()
    steps = [step.value for step in STEP_NAMES]
    assert [word for word in words if word in steps][: len(steps)] == steps or set(steps) <= set(
        words
    )


def test_the_picture_of_the_training_shows_its_progress() -> None:
    text = read_svg_text((IMAGES / "terminal_training.svg").read_text(encoding="utf-8"))
    assert "train" in text
    assert re.search(r"loss \d\.\d+ +accuracy \d\.\d+ +\d+ examples/s +\d+:\d\d left", text)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("report.png", take_screenshots.REPORT_SIZE),
        ("explanation.png", take_screenshots.EXPLANATION_SIZE),
    ],
)
def test_the_pictures_of_the_report_are_pngs_of_the_set_size(
    name: str, size: tuple[int, int]
) -> None:
    head = (IMAGES / name).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")) == size


def test_a_report_without_explanations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>no mistakes</p>", encoding="utf-8")
    with pytest.raises(ScreenshotError, match="explains no mistake"):
        take_report_pictures("browser", tmp_path / "report.html", tmp_path)
    assert not list(tmp_path.glob("*.png"))


def test_the_style_of_the_explanations_picture_fits_the_report() -> None:
    page = render_report(report_content(), [make_explanation()])
    assert page.count(f'id="{take_screenshots.EXPLANATION}"') == page.count("</style>") == 1


def test_lines_that_rich_erases_are_not_on_the_screen() -> None:
    screen = Screen()
    for part in (
        "one",
        "\n",
        "bar",
        "\r",
        "\x1b[2K",
        "two",
        "\n",
        "bar",
        "\x1b[1A",
        "\x1b[2K",
        "2",
    ):
        screen.write(part)
    assert screen.lines == ["one", "2", "bar"]


def test_a_recorded_terminal_shows_finished_steps_and_the_bar(tmp_path: Path) -> None:
    program = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})" + PROGRESS_PROGRAM,
    ]
    recording = record_terminal(program, tmp_path)
    *_, finished = iterate_screens(recording)
    text = read_svg_text(draw_terminal(finished, "kubert run"))
    assert re.search(r"\$ kubert run.*tokenize +1\.5 s.*train +1\.5 s.*end", text)
    assert "examples/s" not in text
    training = read_svg_text(draw_terminal(find_training_screen(recording), "kubert run"))
    assert re.search(
        r"train .*━.* epoch [123] +loss \d\.\d+ +100 examples/s +0:0[012] left", training
    )
    assert "end" not in training.split()


def test_a_terminal_has_the_set_width(tmp_path: Path) -> None:
    code = "import os; print(os.get_terminal_size().columns)"
    assert record_terminal([sys.executable, "-c", code], tmp_path).strip() == str(COLUMNS)


def test_a_recording_does_not_name_the_directory(tmp_path: Path) -> None:
    recording = record_terminal(["pwd"], tmp_path)
    assert recording.strip() == take_screenshots.SHOWN_DIRECTORY


def test_a_command_that_fails_makes_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ScreenshotError, match=r"(?s)ended with exit code 3:.*some words"):
        record_terminal(["sh", "-c", "echo some words; exit 3"], tmp_path)


def test_a_run_that_reuses_its_training_is_refused() -> None:
    with pytest.raises(ScreenshotError, match="its result was reused"):
        find_training_screen("train     reused\r\n")


def test_without_a_browser_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScreenshotError, match="apt-get install chromium"):
        find_browser()


def test_without_a_browser_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = subprocess.run(
        [
            sys.executable,
            str(ROOT / "docs" / "take_screenshots.py"),
            "--output",
            str(tmp_path / "o"),
        ],
        env={"PATH": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("take_screenshots: none of chromium, ")
    assert list((tmp_path / "o").iterdir()) == []


def test_without_a_run_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ScreenshotError, match="run `kubert run` there first"):
        find_report(tmp_path)


def test_the_report_is_that_of_the_newest_run(tmp_path: Path) -> None:
    for name in ("b", "a"):
        page = tmp_path / "artifacts" / name / "evaluate" / "report" / "report.html"
        page.parent.mkdir(parents=True)
        page.touch()
    assert find_report(tmp_path) == page


@pytest.mark.slow
def test_a_real_run_makes_the_terminal_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record_tiny_run(command: list[str], directory: Path) -> str:
        assert command == TINY_RUN[:2]
        return record_terminal(TINY_RUN, directory)

    monkeypatch.setattr(take_screenshots, "record_terminal", record_tiny_run)
    output = tmp_path / "images"
    arguments = ["--only", "terminal", "--output", str(output), "--directory", str(tmp_path)]
    assert take_screenshots.main(arguments) == 0
    finished = read_svg_text((output / "terminal.svg").read_text(encoding="utf-8"))
    for step in STEP_NAMES:
        assert re.search(rf"{step} +\d+\.\d s", finished), step
    assert str(tmp_path) not in finished
    training = read_svg_text((output / "terminal_training.svg").read_text(encoding="utf-8"))
    assert re.search(r"tokenize +\d+\.\d s", training)
    assert "examples/s" in training
    assert find_report(tmp_path / ".kubert").is_file()
