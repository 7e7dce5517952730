"""The tokenizer, one module for tokenizing data sets and for the served model.

Word pieces are looked up by tensorflow_text's FastBertTokenizer: clean, lower-case and strip
accents (as the vocabulary says), split at spaces, punctuation and CJK characters, then longest
match first. No text is special: a literal "[SEP]" is split like other brackets around a word.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text as tf_text
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from components.artifacts.token_shards import TokenIds, TokenizedTexts
from components.artifacts.vocabulary import SPECIAL_TOKENS, StripAccents, Vocabulary
from components.config.model import CUT, LongTexts
from components.data.text_columns import Text
from components.errors import DataError
from components.model.text_windows import select_pieces

# BERT maps words of more than 100 characters to [UNK]; FastBertTokenizer counts bytes. Three bytes
# per character keep scripts without spaces (Thai, Khmer) readable.
MAX_WORD_BYTES = 300
MIN_OCCURRENCES = 2
SPECIAL_TOKENS_OF_TEXT = 2
SPECIAL_TOKENS_OF_PAIR = 3
MAX_LEARNED_CHARACTERS = 64
"""Longer words are learned in parts: FastBertTokenizer knows no piece of more than 256 bytes, and
what the trainer takes for a word grows with the square of its length."""
MAX_WORD_BYTES_WITH_VOWEL_SIGNS = 4096
"""For learned vocabularies of scripts with vowel signs: Thai, Lao and Khmer have no spaces between
words, so that a sentence counts as one word."""
VOICING_MARKS = frozenset("\u3099\u309a")
"""Marks of Japanese consonants, which are part of the letter as vowel signs are."""
ALPHABETIC_LETTER = r"[\p{Latin}\p{Greek}\p{Cyrillic}]"
MARKS = r"\p{Mn}+"


class WordPiece(tf.Module):
    """Texts -> ids, [CLS] first and [SEP] last, truncated; works in eager mode and in graphs.

    The texts of a pair are two segments, [CLS] first [SEP] second [SEP], of which the longer one is
    truncated first. A text that is read in windows is one row of all its windows. Raises DataError
    for a vocabulary that no word can be looked up in.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(name="wordpiece")
        try:
            self._tokenizer = tf_text.FastBertTokenizer(
                vocab=list(vocabulary.tokens),
                max_bytes_per_word=MAX_WORD_BYTES_WITH_VOWEL_SIGNS
                if vocabulary.strip_accents == "alphabetic"
                else MAX_WORD_BYTES,
                token_out_type=tf.int32,
                lower_case_nfd_strip_accents=vocabulary.lower_case
                and vocabulary.strip_accents == "all",
            )
        except RuntimeError as error:
            raise DataError(
                f"the vocabulary of {len(vocabulary)} pieces cannot be used: {error} "
                "It was cut, or is another kind of file"
            ) from None
        self._cls, self._sep = vocabulary.token_id("[CLS]"), vocabulary.token_id("[SEP]")
        self._vocabulary = vocabulary

    def __call__(
        self, texts: tf.Tensor, max_length: int, reading: LongTexts = CUT
    ) -> tf.RaggedTensor:
        """UTF-8 texts, string [n] -> ragged int32 [n, 2 to max_length], or all windows of each.

        An empty text gives [CLS] [SEP].
        """
        pieces = self._tokenizer.tokenize(self._normalize(texts))
        if reading.method != "cut":
            return self._join_selected(pieces, max_length, reading)
        pieces = pieces[:, : max_length - 2]
        column = tf.ones([pieces.nrows(), 1], tf.int32)
        return tf.concat([self._cls * column, pieces, self._sep * column], axis=1)

    def _join_selected(
        self, pieces: tf.RaggedTensor, max_length: int, reading: LongTexts
    ) -> tf.RaggedTensor:
        selected = select_pieces(pieces.row_splits, max_length, reading, tf)
        windows = tf.RaggedTensor.from_row_lengths(
            tf.gather(pieces.values, selected.positions), selected.lengths, validate=False
        )
        column = tf.ones([windows.nrows(), 1], tf.int32)
        windows = tf.concat([self._cls * column, windows, self._sep * column], axis=1)
        ends = tf.concat([[0], tf.cumsum(selected.windows)], axis=0)
        return tf.RaggedTensor.from_row_splits(
            windows.values, tf.gather(windows.row_splits, ends), validate=False
        )

    def tokenize_pairs(
        self, first: tf.Tensor, second: tf.Tensor, max_length: int
    ) -> tf.RaggedTensor:
        """Pairs of UTF-8 texts, string [n] each -> ragged int32 [n, 3 to max_length]."""
        pieces = [self._tokenizer.tokenize(self._normalize(texts)) for texts in (first, second)]
        first_lengths, second_lengths = (rows.row_lengths() for rows in pieces)
        lengths = choose_pair_lengths(first_lengths, second_lengths, max_length, tf)
        segments = [_truncate_rows(*each) for each in zip(pieces, lengths, strict=True)]
        column = tf.ones([pieces[0].nrows(), 1], tf.int32)
        last = self._sep * column
        return tf.concat([self._cls * column, segments[0], last, segments[1], last], axis=1)

    def tokenize_rows(
        self, texts: Sequence[Text], max_length: int, reading: LongTexts = CUT
    ) -> TokenizedTexts:
        """The rows of texts or pairs, which are cut whatever `reading` says.

        For many texts: numpy truncates and joins in a tenth of the time of ragged tensors. Threads
        can call this at the same time.
        """
        if texts and not isinstance(texts[0], str):
            first, second = map(self._split_words, zip(*texts, strict=True))
            rows = _join_pairs(first, second, self._cls, self._sep, max_length)
            return TokenizedTexts(*rows, np.diff(first[1]) + np.diff(second[1]))
        pieces, splits = self._split_words(texts)
        if reading.method == "cut":
            rows = _add_special_tokens(pieces, splits, self._cls, self._sep, max_length)
            return TokenizedTexts(*rows, np.diff(splits))
        selected = select_pieces(splits, max_length, reading)
        ids, window_splits = _add_special_tokens(
            pieces[selected.positions],
            np.concatenate([[0], np.cumsum(selected.lengths)]),
            self._cls,
            self._sep,
            max_length,
        )
        ends = np.concatenate([[0], np.cumsum(selected.windows)])
        return TokenizedTexts(ids, window_splits[ends], np.diff(splits))

    def tokenize_flat(
        self, texts: Sequence[Text], max_length: int, reading: LongTexts = CUT
    ) -> tuple[TokenIds, npt.NDArray[np.int64]]:
        """The flat ids and the row splits of `tokenize_rows`."""
        rows = self.tokenize_rows(texts, max_length, reading)
        return rows.ids, rows.row_splits

    def _split_words(self, texts: Sequence[Any]) -> tuple[TokenIds, npt.NDArray[np.int64]]:
        pieces = self._tokenizer.tokenize(self._normalize(tf.constant(texts, tf.string)))
        return pieces.values.numpy(), pieces.row_splits.numpy()

    def _normalize(self, texts: tf.Tensor) -> tf.Tensor:
        """Lower-case and strip accents where FastBertTokenizer cannot: it does both or neither."""
        lower_case, strip = self._vocabulary.lower_case, self._vocabulary.strip_accents
        if self._vocabulary.stored_strip_accents is None:
            return texts
        if lower_case:
            texts = tf.strings.lower(texts, encoding="utf-8")
        if strip == "none":
            return texts
        decomposed = tf_text.normalize_utf8(texts, "NFD")
        if strip == "all":
            return tf.strings.regex_replace(decomposed, MARKS, "")
        stripped = tf.strings.regex_replace(decomposed, f"({ALPHABETIC_LETTER}){MARKS}", r"\1")
        return tf_text.normalize_utf8(stripped, "NFC")


def _add_special_tokens(
    pieces: TokenIds, splits: npt.NDArray[np.int64], first: int, last: int, max_length: int
) -> tuple[TokenIds, npt.NDArray[np.int64]]:
    """Every row truncated to `max_length` - 2 and put between `first` and `last`."""
    lengths = np.diff(splits)
    new_lengths = np.minimum(lengths, max_length - 2)
    if (new_lengths < lengths).any():
        pieces = pieces[np.arange(len(pieces)) - np.repeat(splits[:-1], lengths) < max_length - 2]
    id_splits = np.concatenate([[0], np.cumsum(new_lengths + 2)])
    ids = np.empty(id_splits[-1], np.int32)
    is_piece = np.ones(len(ids), bool)
    for positions, token in ((id_splits[:-1], first), (id_splits[1:] - 1, last)):
        ids[positions], is_piece[positions] = token, False
    ids[is_piece] = pieces
    return ids, id_splits


def choose_pair_lengths(first: Any, second: Any, max_length: int, library: Any = np) -> Any:
    """How many pieces of each text of a pair are kept: (first, second), integers [n] as given.

    Three of `max_length` are [CLS] and [SEP]. The longer text is truncated to what the shorter one
    leaves, but none to less than half: `longest_first` of Hugging Face's Rust tokenizers, which of
    an odd number give the longer text one more, of equally long ones the second. `library` is
    numpy or TensorFlow, whichever has the arrays.
    """
    space = max_length - SPECIAL_TOKENS_OF_PAIR
    shorter = library.minimum(library.minimum(first, second), space // 2)
    longer = library.minimum(library.maximum(first, second), space - shorter)
    is_first_longer = first > second
    return (
        library.where(is_first_longer, longer, shorter),
        library.where(is_first_longer, shorter, longer),
    )


def _truncate_rows(rows: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """The first pieces of each row, as many as `lengths` has, int64 [n]."""
    positions = tf.ragged.range(rows.row_lengths()).values
    kept = positions < tf.gather(lengths, rows.value_rowids())
    return tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(rows.values, kept), lengths, validate=False
    )


def _join_pairs(
    first: tuple[TokenIds, npt.NDArray[np.int64]],
    second: tuple[TokenIds, npt.NDArray[np.int64]],
    cls: int,
    sep: int,
    max_length: int,
) -> tuple[TokenIds, npt.NDArray[np.int64]]:
    """[CLS] first [SEP] second [SEP] of each pair of rows, truncated to `max_length`."""
    lengths = choose_pair_lengths(np.diff(first[1]), np.diff(second[1]), max_length)
    splits = np.concatenate([[0], np.cumsum(sum(lengths) + SPECIAL_TOKENS_OF_PAIR)])
    ids = np.full(splits[-1], sep, np.int32)
    ids[splits[:-1]] = cls
    starts = (splits[:-1] + 1, splits[:-1] + 2 + lengths[0])
    for (pieces, row_splits), kept, start in zip((first, second), lengths, starts, strict=True):
        offsets = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
        ids[np.repeat(start, kept) + offsets] = pieces[np.repeat(row_splits[:-1], kept) + offsets]
    return ids, splits


def train_vocabulary(texts: Iterable[str], size: int, lower_case: bool) -> Vocabulary:
    """Train a vocabulary of at most `size` word pieces; the texts' order does not matter.

    `texts` is iterated twice (a list, or an object that reads a file again), as a stream: memory
    grows with the number of different words, not of texts. Works for any language: up to a third
    of the pieces are single characters. Raises DataError if there is no word to learn from.
    """
    if iter(texts) is texts:
        raise TypeError(
            "train_vocabulary() reads the texts twice, so it needs a list "
            "or another object that can be iterated again"
        )
    characters = _count_characters(texts)
    strip_accents = _choose_strip_accents(characters) if lower_case else "none"
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = _build_normalizer(lower_case, strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = _choose_alphabet(characters, tokenizer, size // 3)
    if not alphabet:
        raise DataError("the training texts hold no word to learn a vocabulary from")
    # The trainer numbers pieces in the order of its hash map and breaks ties by number, so that two
    # runs would learn different pieces. Naming every one-character piece in advance, in sorted
    # order, leaves nothing to the hash map.
    inner = [f"##{character}" for character in alphabet if _continues_a_word(character, tokenizer)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=MIN_OCCURRENCES,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        special_tokens=[*SPECIAL_TOKENS, *inner],
        show_progress=False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            tokenizer.pre_tokenizer,
            pre_tokenizers.Split(Regex(f".{{1,{MAX_LEARNED_CHARACTERS}}}"), "isolated"),
        ]
    )
    tokenizer.train_from_iterator(_batch_texts(texts), trainer)
    pieces: dict[str, int] = tokenizer.get_vocab()
    return Vocabulary(
        tokens=tuple(sorted(pieces, key=pieces.__getitem__)),
        lower_case=lower_case,
        strip_accents=strip_accents,
    )


def _build_normalizer(lower_case: bool, strip_accents: StripAccents) -> Any:
    """The normalization of `WordPiece`, for the trainer."""
    if strip_accents != "alphabetic":
        return normalizers.BertNormalizer(
            lowercase=lower_case, strip_accents=strip_accents == "all"
        )
    return normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.NFD(),
            normalizers.Replace(Regex(f"(?<={ALPHABETIC_LETTER}){MARKS}"), ""),
            normalizers.NFC(),
            normalizers.BertNormalizer(lowercase=False, strip_accents=False),
        ]
    )


def _choose_strip_accents(characters: Mapping[str, int]) -> StripAccents:
    """Which accents a lower-cased vocabulary strips: all, unless the texts have vowel signs.

    Combining marks that any letter may have are accents; marks of a script are part of its words.
    """
    decomposed = {part for each in characters for part in unicodedata.normalize("NFD", each)}
    marks = {part for part in decomposed if unicodedata.category(part) == "Mn"}
    accents = {mark for mark in marks if unicodedata.name(mark, "").startswith("COMBINING ")}
    has_vowel_signs = bool(marks - accents | marks & VOICING_MARKS)
    return "alphabetic" if has_vowel_signs else "all"


def _count_characters(texts: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for group in _batch_texts(texts):
        counts.update("".join(group))
    return counts


def _choose_alphabet(raw: Mapping[str, int], tokenizer: Any, limit: int) -> list[str]:
    """The `limit` most frequent characters after normalization, sorted."""
    normal: Counter[str] = Counter()
    for character, count in raw.items():
        for part in tokenizer.normalizer.normalize_str(character):
            if not part.isspace():
                normal[part] += count
    return sorted(sorted(normal, key=lambda character: (-normal[character], character))[:limit])


def _continues_a_word(character: str, tokenizer: Any) -> bool:
    words = tokenizer.pre_tokenizer.pre_tokenize_str(
        tokenizer.normalizer.normalize_str(f"a{character}")
    )
    return len(words) == 1


def _batch_texts(texts: Iterable[str]) -> Iterator[list[str]]:
    stream = iter(texts)
    while group := list(itertools.islice(stream, 1000)):
        yield group
