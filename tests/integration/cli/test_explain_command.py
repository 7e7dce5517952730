"""`kubert explain` as users call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.releases.served_release import publish_release
from tests.support.stores.small_disk import mounted_small_disk


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    publish_release(root, seed=3)
    return root / "models" / "news"


def explain(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "explain", *arguments],
        capture_output=True,
        text=True,
        input=text,
        timeout=300,
    )


def test_texts_are_explained_as_json_and_as_a_page_after_the_cost_is_stated(
    model: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    arguments = ("--json", "--steps", "16", "--heads", "all", "--html", str(page))
    done = explain(str(model), "-", *arguments, text="w1 w2\n\nw3 unknown\n")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["text"] for each in found] == ["w1 w2", "w3 unknown"]
    assert [word["text"] for word in found[1]["words"]] == ["w3", "unknown"]
    assert {each["head"] for each in found[0]["attention"]} == {1, 2}
    notes = done.stderr.splitlines()
    assert notes[0] == "note: 1 blank line of standard input skipped"
    assert notes[1].startswith(
        "explaining 2 texts: 36 forward and backward passes and 6 forward passes, "
    )
    assert done.stderr.splitlines()[-1] == f"page    {page}"
    assert page.read_text(encoding="utf-8").count("<svg") == 2 * 2 * 2


def test_a_page_that_cannot_be_written_leaves_the_old_one(model: Path, tmp_path: Path) -> None:
    with mounted_small_disk(tmp_path / "small", "64k") as disk:
        page = disk / "page.html"
        page.write_text("old page")
        (disk / "full").write_bytes(bytes(56 * 1024))
        done = explain(str(model), "w1 w2", "--steps", "1", "--html", str(page))
        assert done.returncode == 2, done.stderr
        assert f"--html {page}: No space left on device" in done.stderr
        assert page.read_text() == "old page"
        assert sorted(path.name for path in disk.iterdir()) == ["full", "page.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nowhere/news", "w1"], "nothing is released", id="no-release"),
        pytest.param(
            ["MODEL", "w1", "--layers", "x"],
            "--layers x: write numbers from 1, separated by commas, or last, all or none",
            id="layers",
        ),
        pytest.param(["MODEL", "w1", "--heads", "0"], "--heads 0: write numbers", id="head-0"),
        pytest.param(["MODEL", sys.executable], "kubert explain MODEL - < ", id="a-file"),
        pytest.param(["MODEL", "w1", "--steps", "0"], "--steps", id="no-steps"),
        pytest.param(["MODEL", "w1", "--html", "no/page.html"], "there is no directory", id="html"),
        pytest.param(["MODEL", "w1", "--html", "."], "--html .: is a directory", id="html-dir"),
        pytest.param(["nowhere"], "standard input has no text", id="no-text"),
        pytest.param(["nowhere", "w1", " "], "TEXT 2: is blank", id="blank"),
        pytest.param(
            ["MODEL", "w1", "--class", "none"], "--class none: the model has the", id="class"
        ),
    ],
)
def test_a_mistake_exits_with_2_and_a_remedy(
    model: Path, arguments: list[str], message: str
) -> None:
    done = explain(*(argument.replace("MODEL", str(model)) for argument in arguments))
    assert done.returncode == 2
    assert message.replace("MODEL", str(model)) in done.stderr
    assert "Traceback" not in done.stderr
