"""The words of a text as people read them, and which word pieces belong to which."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

_SPACES = "\t\n\r"
_CJK_RANGES = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""Chinese characters, which BERT's tokenizers take for words of their own."""


@dataclass(frozen=True)
class TokenizedText:
    """A text's word pieces before truncation, and the ids that the model reads of it.

    ids: int32 [tokens], with [CLS] first and [SEP] last, or so of each window. padding: the id of
    [PAD]. numbers: of each token the number of its piece, -1 for [CLS] and [SEP]; None where the
    first pieces are read.
    """

    pieces: tuple[str, ...]
    piece_ids: tuple[int, ...]
    ids: npt.NDArray[np.int32]
    padding: int
    numbers: npt.NDArray[np.int64] | None = None

    @cached_property
    def tokens_by_piece(self) -> tuple[tuple[int, ...], ...]:
        """The tokens that each piece is: none if it is not read, two in windows that overlap."""
        found: list[list[int]] = [[] for _ in self.pieces]
        numbers = range(-1, len(self.ids) - 2) if self.numbers is None else self.numbers.tolist()
        for token, piece in enumerate(numbers):
            if piece >= 0:
                found[piece].append(token)
        return tuple(map(tuple, found))

    @property
    def windows(self) -> int:
        """How many rows of [CLS], pieces and [SEP] the model reads."""
        return 1 if self.numbers is None else int((self.numbers < 0).sum()) // 2

    def list_tokens(self, word: WordSpan) -> list[int]:
        """The tokens of a word, those of each of its pieces."""
        pieces = self.tokens_by_piece[word.first : word.last]
        return sorted(token for tokens in pieces for token in tokens)

    def list_read_pieces(self, word: WordSpan) -> tuple[str, ...]:
        """The pieces of a word that are read."""
        numbers = range(word.first, word.last)
        return tuple(self.pieces[number] for number in numbers if self.tokens_by_piece[number])

    def is_read(self, word: WordSpan) -> bool:
        """Whether all of a word is read."""
        return all(self.tokens_by_piece[word.first : word.last])


@dataclass(frozen=True)
class WordSpan:
    """A word: the characters [start, end) of the text, and the pieces [first, last) it gives."""

    text: str
    start: int
    end: int
    first: int
    last: int


def split_words(text: str) -> Iterator[tuple[int, int]]:
    """The words of a text as character ranges.

    Words are separated by spaces. Punctuation before and after a word is a word of its own, that
    within it ("O'Neil", "3-2") is not. Each Chinese character is a word.
    """
    start = 0
    for position, character in enumerate([*text, " "]):
        is_space = character in _SPACES or unicodedata.category(character) == "Zs"
        if is_space or _is_chinese(character):
            yield from _split_punctuation(text, start, position)
            if not is_space:
                yield position, position + 1
            start = position + 1


def match_words(
    text: str,
    tokenized: TokenizedText,
    words: Sequence[TokenizedText],
    spans: Sequence[tuple[int, int]],
) -> tuple[WordSpan, ...]:
    """The words that pieces were made of, in the order of the text.

    words: what each span gives by itself. Where that is not what the whole text gives, words are
    put together from the pieces that continue each other.
    """
    joined = [piece for word in words for piece in word.piece_ids]
    if joined != list(tokenized.piece_ids):
        return _join_pieces(tokenized.pieces)
    found, first = [], 0
    for (start, end), word in zip(spans, words, strict=True):
        last = first + len(word.piece_ids)
        if last > first:
            found.append(WordSpan(text[start:end], start, end, first, last))
        first = last
    return tuple(found)


def _join_pieces(pieces: Sequence[str]) -> tuple[WordSpan, ...]:
    """Words as their pieces spell them; they are at no known place of the text (-1)."""
    starts = [number for number, piece in enumerate(pieces) if not piece.startswith("##")]
    if pieces and starts[:1] != [0]:
        starts.insert(0, 0)
    ends = [*starts[1:], len(pieces)]
    return tuple(
        WordSpan("".join(part.removeprefix("##") for part in pieces[a:b]), -1, -1, a, b)
        for a, b in zip(starts, ends, strict=True)
    )


def _split_punctuation(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if start == end:
        return
    left, right = start, end
    while left < right and _is_punctuation(text[left]):
        left += 1
    while right > left and _is_punctuation(text[right - 1]):
        right -= 1
    yield from ((position, position + 1) for position in range(start, left))
    if left < right:
        yield left, right
    yield from ((position, position + 1) for position in range(right, end))


def _is_punctuation(character: str) -> bool:
    is_ascii_symbol = character.isascii() and character.isprintable() and not character.isalnum()
    return is_ascii_symbol or unicodedata.category(character).startswith("P")


def _is_chinese(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in _CJK_RANGES)
