"""Pairs of texts from the lines of standard input."""

from __future__ import annotations

import pytest

from components.errors import UsageError
from pipeline.cli.commands.releases.text_arguments import group_pairs

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
    pairs = group_pairs(iter([PAIR, line]), ("question", "answer"))
    assert next(pairs) == ("who?", "they")
    with pytest.raises(UsageError, match=f"standard input, line 2: no pair of {message}"):
        next(pairs)
