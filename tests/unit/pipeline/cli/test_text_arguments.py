"""Texts, and pairs of them, from the lines of standard input."""

from __future__ import annotations

import itertools

import pytest

from components.errors import UsageError
from pipeline.cli.commands.releases.text_arguments import InputLines, group_pairs, read_texts

PAIR = '{"answer": "they", "question": "who?"}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(
            '{"question": "a", "answer": "b", "id": "7"}',
            r"question and answer \(unknown key 'id'\); write",
            id="another-key",
        ),
        pytest.param('{"question": "a"}', "question and answer; write both", id="key-missing"),
        pytest.param('{"question": 1, "answer": "b"}', "question and answer; write", id="number"),
        pytest.param("{question", "question and answer; write both", id="not-json"),
    ],
)
def test_a_line_that_is_no_pair_is_refused_with_its_number(line: str, message: str) -> None:
    pairs = group_pairs(InputLines([PAIR.encode(), line.encode()]), ("question", "answer"))
    assert next(pairs) == ("who?", "they")
    with pytest.raises(UsageError, match=f"standard input, line 2: no pair of {message}"):
        next(pairs)


def test_blank_lines_are_skipped_and_counted_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = InputLines([b"caf\xc3\xa9\r\n", b"\n", b" \t\n", b"b"])
    assert list(lines) == ["caf\u00e9", "b"]
    assert capsys.readouterr().err == "note: 2 blank lines of standard input skipped\n"


def test_a_line_that_is_not_utf_8_is_named() -> None:
    lines = iter(InputLines([b"a\n", b"\n", b"caf\xe9\n"]))
    assert next(lines) == "a"
    with pytest.raises(UsageError, match=r"standard input, line 3: is not UTF-8"):
        next(lines)


def test_an_endless_input_is_read_line_by_line() -> None:
    lines = InputLines(b"%d\n" % number for number in itertools.count())
    assert list(itertools.islice(lines, 3)) == ["0", "1", "2"]


def test_a_line_without_a_pair_is_named_by_its_number() -> None:
    pairs = group_pairs(InputLines([b"a\tb\n", b"\n", b"c\n"]), ["first", "second"])
    assert next(pairs) == ("a", "b")
    with pytest.raises(UsageError, match="standard input, line 3: no pair of first and second"):
        next(pairs)


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_a_blank_text_is_refused_by_its_number(text: str) -> None:
    with pytest.raises(UsageError, match="TEXT 2: is blank"):
        read_texts("predict", "models/news", ["a", text])
