from __future__ import annotations

import numpy as np
import pytest

from components.explain.words import TokenizedText, WordSpan, match_words, split_words


def make_tokenized(*pieces: str) -> TokenizedText:
    numbers = tuple(sum(piece.encode()) for piece in pieces)
    return TokenizedText(pieces, numbers, np.array([2, *numbers, 3], np.int32), 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("Oil fell", ["Oil", "fell"], id="spaces"),
        pytest.param("", [], id="empty"),
        pytest.param(" \t\n\u3000", [], id="only-spaces"),
        pytest.param('"Oil," (he) said.',
                     ['"', "Oil", ",", '"', "(", "he", ")", "said", "."],
                     id="punctuation-around-words"),
        pytest.param("O'Neil 3-2 U.S.", ["O'Neil", "3-2", "U.S", "."], id="punctuation-in-words"),
        pytest.param("?!", ["?", "!"], id="only-punctuation"),
        pytest.param("x\u4e2d\u6587y", ["x", "\u4e2d", "\u6587", "y"], id="chinese"),
        pytest.param("caf\u00e9 cafe\u0301", ["caf\u00e9", "cafe\u0301"], id="accents"),
        pytest.param("\U0001f600 a\x00b", ["\U0001f600", "a\x00b"], id="emoji-and-control"),
    ],
)  # fmt: skip
def test_words_are_those_that_people_read(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in split_words(text)] == words


def test_pieces_belong_to_the_word_that_gives_them() -> None:
    text = "naive\u200b \u200d chips"
    spans = list(split_words(text))
    parts = [make_tokenized("nai", "##ve"), make_tokenized(), make_tokenized("chip", "##s")]
    assert match_words(text, make_tokenized("nai", "##ve", "chip", "##s"), parts, spans) == (
        WordSpan("naive\u200b", 0, 6, 0, 2),
        WordSpan("chips", 9, 14, 2, 4),
    )


def test_where_words_alone_give_other_pieces_they_are_put_together_from_pieces() -> None:
    whole = make_tokenized("##x", "ab", "##c", "[UNK]")
    assert match_words(
        "xabc ?", whole, [make_tokenized("xabc"), make_tokenized("?")], [(0, 4), (5, 6)]
    ) == (
        WordSpan("x", -1, -1, 0, 1),
        WordSpan("abc", -1, -1, 1, 3),
        WordSpan("[UNK]", -1, -1, 3, 4),
    )
