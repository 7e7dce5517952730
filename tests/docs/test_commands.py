"""The commands in the documents work as they are written, in the order of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.documents.kubert_commands import check_kubert_commands, find_kubert_commands
from tests.support.documents.markdown_blocks import (
    Block,
    DocumentError,
    Marks,
    parse_blocks,
    read_blocks,
)
from tests.support.documents.output_match import check_outputs, find_missing_line, pair_outputs
from tests.support.documents.page_directory import (
    PAGES,
    ROOT,
    create_page_directory,
    find_pages,
    list_file_versions,
    page_environment,
)
from tests.support.documents.page_script import Output, check_syntax, run_blocks

TRAINING_PAGES = {
    "docs/user-guide/cross-validation.md",
    "docs/user-guide/data.md",
    "docs/user-guide/encoders.md",
    "docs/user-guide/evaluation-and-gate.md",
    "docs/user-guide/long-texts.md",
    "docs/user-guide/text-pairs.md",
    "examples/README.md",
}
"""Pages that train models besides the one of the first page, which takes minutes (nightly)."""


def mark_training_pages(pages: list[str]) -> list[Any]:
    return [
        pytest.param(page, marks=pytest.mark.nightly if page in TRAINING_PAGES else ())
        for page in pages
    ]


def check_page(text: str, directory: Path, page: str = "page.md") -> list[Output]:
    """Run the commands of a page in a directory, and compare the output that it shows."""
    blocks = parse_blocks(text, page)
    list(pair_outputs(blocks))
    shell = [block for block in blocks if block.language == "sh"]
    for block in shell:
        check_syntax(block)
        check_kubert_commands(block)
    outputs = run_blocks([block for block in shell if block.is_run], directory)
    check_outputs(blocks, outputs)
    return outputs


def block(*lines: str, language: str = "sh", above: str = "") -> str:
    """A Markdown block, below an optional comment."""
    return "\n".join([*([above] if above else []), f"```{language}", *lines, "```"]) + "\n"


@pytest.mark.parametrize("page", find_pages())
def test_commands_of_a_page_that_are_not_run_could_be(page: str) -> None:
    blocks = read_blocks(ROOT / page, page)
    list(pair_outputs(blocks))
    for each in blocks:
        if each.language == "sh":
            check_syntax(each)
            check_kubert_commands(each)


@pytest.mark.slow
@pytest.mark.timeout(2400)  # the first page waits for the run
@pytest.mark.parametrize("page", mark_training_pages(find_pages()))
def test_commands_of_a_page_work(page: str, request: pytest.FixtureRequest) -> None:
    blocks = read_blocks(ROOT / page, page)
    commands = [each for each in blocks if each.is_run]
    if not commands:
        return
    directory = request.getfixturevalue("page_directory")
    outputs = run_blocks(commands, directory, page_environment(directory))
    check_outputs(blocks, outputs)


def test_the_pages_are_found() -> None:
    assert {"README.md", *TRAINING_PAGES} <= set(find_pages())
    assert {pattern.partition("/")[0] for pattern in PAGES} == {"README.md", "docs", "examples"}


def test_blocks_have_language_line_marks_and_text() -> None:
    text = "# Title\n\n1. Run:\n\n   <!-- needs: cluster, time -->\n" + "\n".join(
        ["   ```sh", "   echo a", "     echo b", "   ```", "", "```text", "a", "```"]
    )
    assert parse_blocks(text, "page.md") == [
        Block("page.md", 6, "sh", ("echo a", "  echo b"), Marks(frozenset({"cluster", "time"}))),
        Block("page.md", 11, "text", ("a",)),
    ]


def test_a_fence_within_a_longer_fence_is_text() -> None:
    (only,) = parse_blocks("````text\n```sh\nfalse\n```\n````\n", "page.md")
    assert (only.language, only.lines) == ("text", ("```sh", "false", "```"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(block("a", above="<!-- needs: luck -->"), "unknown need luck", id="need"),
        pytest.param(block("a", above="<!-- skip -->"), "unknown mark <!-- skip -->", id="mark"),
        pytest.param(block("a", above="<!-- exit: two -->"), "unknown mark", id="exit-code"),
        pytest.param(block("a", above="<!-- output -->"), "unknown mark", id="output-above-sh"),
        pytest.param(
            "<!-- needs: gpu -->\n\n" + block("a"), "not directly above a block", id="far-away"
        ),
        pytest.param("<!-- output -->\n", "not directly above a block", id="no-block"),
        pytest.param(block("$ ls"), "page.md:2: a command without the prompt", id="prompt"),
        pytest.param(block("ls", language="bash"), "write ```sh instead", id="other-shell-name"),
        pytest.param("text\n\n```sh\nls\n", "page.md:3: this block has no end", id="no-end"),
    ],
)
def test_a_page_that_breaks_the_conventions_is_refused(text: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse_blocks(text, "page.md")


def test_blocks_share_one_shell(tmp_path: Path) -> None:
    text = block("mkdir below && cd below", "NAME=kubert") + block('echo "$NAME in ${PWD##*/}"')
    _, second = check_page(text, tmp_path)
    assert second.text == "kubert in below"


def test_a_failing_command_is_named_with_page_line_and_output(tmp_path: Path) -> None:
    text = "# Title\n\n" + block("echo one") + "\n" + block("echo two", "ls no-such-file", "echo x")
    with pytest.raises(DocumentError) as refused:
        check_page(text, tmp_path)
    first, second, *rest = str(refused.value).splitlines()
    assert first == "page.md:9: ls no-such-file"
    assert second == "ended with exit code 2:"
    assert rest[0] == "two"
    assert "no-such-file" in rest[1]
    assert len(rest) == 2


def test_a_command_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    blocks = parse_blocks(block("echo before", "sleep 60"), "page.md")
    with pytest.raises(DocumentError, match=r"(?s)not finished after 1 s:.*before"):
        run_blocks(blocks, tmp_path, timeout=1)


@pytest.mark.parametrize(
    ("code", "command"), [(2, "exit 2"), (2, "bash -c 'exit 2'"), (3, "(exit 3)")]
)
def test_a_marked_exit_code_is_the_blocks(code: int, command: str, tmp_path: Path) -> None:
    text = block("echo a", command, above=f"<!-- exit: {code} -->") + block("echo b")
    assert [output.text for output in check_page(text, tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param("true", "exit code 0 instead of 2", id="success"),
        pytest.param("(exit 3)", "exit code 3 instead of 2", id="other-code"),
    ],
)
def test_another_exit_code_than_the_marked_one_fails(
    command: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DocumentError, match=message):
        check_page(block(command, above="<!-- exit: 2 -->"), tmp_path)


def test_blocks_with_needs_are_not_run(tmp_path: Path) -> None:
    assert check_page(block("exit 1", above="<!-- needs: cluster -->"), tmp_path) == []


@pytest.mark.parametrize("lines", [("if true",), ("cat <<EOF", "no end"), ("echo 'open",)])
def test_blocks_that_bash_cannot_parse_are_refused(lines: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"page\.md:2: bash cannot parse"):
        check_page(block(*lines, above="<!-- needs: cluster -->"), tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("kubert runs list --endpoint http://localhost:8888", id="subcommand"),
        pytest.param("KUBERT_NAMESPACE=a kubert doctor --cluster", id="variable-before"),
        pytest.param("kubert config > mine.yaml 2>&1", id="redirections"),
        pytest.param("set -a; . images.env; kubert submit mine.yaml --wait", id="sequence"),
        pytest.param("kubert pull gs://b/m --to d && .venv/bin/kubert serve d", id="and"),
        pytest.param("echo text | kubert predict models/news/1 - | sort", id="pipe"),
        pytest.param("ID=$(kubert runs list --json | head -1)", id="substitution"),
        pytest.param("kubert schedule apply --set 'schedule.cron=30 2 * * *'", id="assignment"),
        pytest.param("kubert submit \\\n  --wait \\\n  mine.yaml", id="continuation"),
        pytest.param("cat > a <<'EOF'\nkubert nothing\nEOF\nkubert run a", id="here-document"),
        pytest.param("# kubert nothing\nkubert --help", id="comment"),
        pytest.param("for s in 1 2; do kubert run --set train.seed=$s; done", id="loop"),
    ],
)
def test_valid_kubert_commands_are_accepted(line: str) -> None:
    (only,) = parse_blocks(block(*line.splitlines()), "page.md")
    assert list(find_kubert_commands(only))
    check_kubert_commands(only)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("kubert start", "no such command 'start'", id="command"),
        pytest.param("kubert runs begin", "no such command 'begin'", id="subcommand"),
        pytest.param("kubert runs", "a command is missing", id="no-subcommand"),
        pytest.param("kubert submit a.yaml --background", "--background", id="option"),
        pytest.param("echo | kubert predict a --color", "--color", id="after-a-pipe"),
        pytest.param("a && .venv/bin/kubert run --colour", "--colour", id="path"),
        pytest.param("kubert compile -o", "requires an argument", id="option-without-value"),
        pytest.param("kubert pull gs://b/m", "to is missing", id="required-option"),
        pytest.param("kubert serve", "directory is missing", id="required-argument"),
        pytest.param("kubert run a.yaml b.yaml", "unexpected argument 'b.yaml'", id="argument"),
        pytest.param("kubert run --set train.epoch=3", "no option train.epoch", id="set-option"),
        pytest.param("kubert run --set trains.epochs=3", "no option trains", id="set-section"),
        pytest.param("kubert run --set train.epochs", "no option train.epochs", id="set-value"),
        pytest.param("kubert run \\\n  --flag", "page.md:2: kubert run --flag", id="continued"),
    ],
)
def test_wrong_kubert_commands_are_refused(line: str, message: str, tmp_path: Path) -> None:
    lines = line.splitlines()
    with pytest.raises(DocumentError, match=message):
        check_page("\n".join(["```sh", *lines, "```"]), tmp_path)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        pytest.param("train  12.5 s", "train      9.1 s", id="numbers-and-spaces"),
        pytest.param("scores 0.9137118, 0.0311047", "scores 0.913774, 3.11e-2", id="digits"),
        pytest.param("log: /home/you/a.log", "log: /tmp/x-1/y/b.log", id="paths"),
        pytest.param("a\n...\nd", "a\nb\nc\nd", id="left-out-lines"),
        pytest.param("b", "a\nb\nc", id="a-part"),
        pytest.param("accuracy ... rows", "accuracy 0.9 on 112 rows", id="left-out-words"),
        pytest.param("plain", "\x1b[1mplain\x1b[0m", id="colours"),
        pytest.param("sha256:1f0c9d2e7a", "sha256:ffe01c9d2a", id="hashes"),
    ],
)
def test_output_that_differs_in_figures_and_paths_is_equal(shown: str, printed: str) -> None:
    assert find_missing_line(shown.splitlines(), printed) is None


@pytest.mark.parametrize(
    ("shown", "printed", "missing"),
    [
        pytest.param("a\nx", "a\nb", "x", id="another-line"),
        pytest.param("b\na", "a\nb", "a", id="another-order"),
        pytest.param("a\na", "a", "a", id="twice"),
        pytest.param("acc 0.9", "accuracy 0.9", "acc 0.9", id="a-part-of-a-line"),
    ],
)
def test_output_that_differs_in_words_is_refused(shown: str, printed: str, missing: str) -> None:
    assert find_missing_line(shown.splitlines(), printed) == missing


def test_shown_output_is_compared_with_the_block_before_it(tmp_path: Path) -> None:
    shown = block("two", language="text", above="<!-- output -->")
    check_page(block("echo one") + block("echo two") + shown, tmp_path)
    with pytest.raises(
        DocumentError, match=r"page.md:8: the block at line 4 does not print\n  two"
    ):
        check_page(block("echo two") + block("echo one") + shown, tmp_path)


def test_output_without_the_mark_is_not_compared(tmp_path: Path) -> None:
    check_page(block("echo one") + block("two", language="text"), tmp_path)


def test_output_of_a_block_that_is_not_run_must_not_be_marked(tmp_path: Path) -> None:
    text = block("false", above="<!-- needs: gpu -->") + block(
        "a", language="text", above="<!-- output -->"
    )
    with pytest.raises(DocumentError, match="remove the mark"):
        check_page(text, tmp_path)


def test_a_page_directory_has_the_repository_and_its_own_work_directory(tmp_path: Path) -> None:
    workdir = tmp_path / "shared"
    (workdir / "runs").mkdir(parents=True)
    (workdir / "runs" / "a.log").write_text("log", encoding="utf-8")
    before = list_file_versions(workdir)
    directory = tmp_path / "page"
    create_page_directory(directory, workdir)
    assert (directory / "README.md").samefile(ROOT / "README.md")
    assert not (directory / ".git").exists()
    (directory / ".kubert" / "runs" / "b.log").touch()
    assert list_file_versions(workdir) == before
    (directory / ".kubert" / "runs" / "a.log").write_text("changed", encoding="utf-8")
    assert list_file_versions(workdir) != before


def test_a_page_runs_kubert_and_make_of_the_environment(tmp_path: Path) -> None:
    create_page_directory(tmp_path / "page", None)
    environment = page_environment(tmp_path / "page")
    blocks = parse_blocks(block("kubert --version", "make setup", "ls examples"), "page.md")
    (output,) = run_blocks(blocks, tmp_path / "page", environment)
    assert output.text.startswith("kubert ")
    assert "Nothing to be done" in output.text or "up to date" in output.text
