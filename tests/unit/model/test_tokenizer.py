"""The one tokenizer: ids, cuts, its equality in a SavedModel, and the vocabulary it learns."""

import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from components.artifacts.vocabulary import Vocabulary
from components.errors import DataError
from components.model.tokenizer import WordPiece, train_vocabulary

TOKENS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "new",
    "##s",
    "news",
    "cafe",
    "[",
    "]",
    "sep",
    ".",
    "中",
    "x",
    "##x",
    "Café",
)
VOCABULARY = Vocabulary(tokens=TOKENS, lower_case=True)
TEXTS = [
    f"{first} {second}s and the {third}, {i}"
    for i, first in enumerate(("stock", "team", "film"))
    for second in ("rise", "fall")
    for third in ("shares", "goals")
]


def pieces(text, vocabulary=VOCABULARY, max_length=128):
    ids = WordPiece(vocabulary)(tf.constant([text]), max_length).to_list()[0]
    return [vocabulary.tokens[index] for index in ids]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("news", ["news"], id="longest-first"),
        pytest.param("NEW  Café", ["new", "cafe"], id="case-accents-spaces"),
        pytest.param("cafe\u0301", ["cafe"], id="combining-mark"),
        pytest.param(
            "[SEP] [CLS]", ["[", "sep", "]", "[", "[UNK]", "]"], id="special-tokens-are-plain-text"
        ),
        pytest.param("new中news", ["new", "中", "news"], id="cjk"),
        pytest.param("x" * 300, ["x", *["##x"] * 299], id="long-word"),
        pytest.param("x" * 301, ["[UNK]"], id="too-long-word"),
        pytest.param("news\0new\ufeff", ["news", "new"], id="control-characters"),
        pytest.param("😀", ["[UNK]"], id="unknown"),
        pytest.param("", [], id="empty"),
    ],
)
def test_pieces(text, expected):
    assert pieces(text, max_length=512) == ["[CLS]", *expected, "[SEP]"]


def test_cased_vocabularies_keep_case_and_accents():
    assert pieces("Café news", Vocabulary(tokens=TOKENS, lower_case=False)) == [
        "[CLS]",
        "Café",
        "news",
        "[SEP]",
    ]


@pytest.mark.parametrize("length", [2, 3, 8, 9, 10])
def test_long_texts_are_cut_between_cls_and_sep(length):
    assert pieces("new . x new . x x", max_length=length) == [
        "[CLS]",
        *["new", ".", "x", "new", ".", "x", "x"][: length - 2],
        "[SEP]",
    ]


def test_a_batch_is_ragged_int32_and_may_be_empty():
    wordpiece = WordPiece(VOCABULARY)
    batch = wordpiece(tf.constant(["news", "", "new x"]), 128)
    assert batch.dtype == tf.int32
    assert batch.to_list() == [[2, 7, 3], [2, 3], [2, 5, 14, 3]]
    assert wordpiece(tf.zeros([0], tf.string), 128).nrows() == 0


@pytest.mark.parametrize(
    "texts",
    [["new . x", "", "Café… news [SEP] " * 9, "中"], ["", ""], []],
    ids=["mixed", "empty-texts", "no-texts"],
)
@pytest.mark.parametrize("length", [2, 3, 4, 512])
def test_flat_gives_the_ids_of_a_call(texts, length):
    wordpiece = WordPiece(VOCABULARY)
    ids, row_splits = wordpiece.tokenize_flat(texts, length)
    expected = wordpiece(tf.constant(texts, tf.string), length)
    assert ids.dtype == np.int32
    assert ids.tolist() == expected.values.numpy().tolist()
    assert row_splits.tolist() == expected.row_splits.numpy().tolist()


def test_a_saved_model_gives_the_same_ids(tmp_path):
    class Served(tf.Module):
        def __init__(self):
            super().__init__()
            self.wordpiece = WordPiece(VOCABULARY)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def ids(self, texts):
            return self.wordpiece(texts, 8).to_tensor()

    served = Served()
    tf.saved_model.save(served, str(tmp_path))
    texts = tf.constant(["Café… news [SEP]", "", "中 " * 50, "😀\0x"])
    assert tf.reduce_all(
        tf.saved_model.load(str(tmp_path)).ids(texts) == WordPiece(VOCABULARY)(texts, 8).to_tensor()
    )


def test_ids_equal_hugging_faces_on_plain_texts():
    vocabulary = train_vocabulary(TEXTS, 200, True)
    other = Tokenizer(
        models.WordPiece(
            {token: index for index, token in enumerate(vocabulary.tokens)}, unk_token="[UNK]"
        )
    )
    other.normalizer, other.pre_tokenizer = (
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
    )
    texts = [*TEXTS, "Goals & films: 50% more; (stocks) FELL!", "unheard-of words"]
    kubert = WordPiece(vocabulary)(tf.constant(texts), 512).to_list()
    assert [row[1:-1] for row in kubert] == [encoding.ids for encoding in other.encode_batch(texts)]


def test_learned_pieces_cover_the_texts_within_the_size():
    vocabulary = train_vocabulary(TEXTS, 150, True)
    assert vocabulary.tokens[:4] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    assert len(vocabulary) <= 150
    assert "[UNK]" not in {piece for text in TEXTS for piece in pieces(text, vocabulary)}
    assert "goals" in vocabulary.tokens


@pytest.mark.parametrize(
    "text",
    [
        "今日の天気は晴れです",
        "Погода сегодня хорошая",
        "อากาศวันนี้ดี",
        "الطقس اليوم جميل",
        "오늘 날씨가 좋다",
    ],
    ids=["ja", "ru", "th", "ar", "ko"],
)
def test_any_language_can_be_learned(text):
    assert "[UNK]" not in pieces(text, train_vocabulary([text, text], 200, True))


def test_case_is_learned_only_when_asked_for():
    assert "Stock" in train_vocabulary(["Stock Stock stock"] * 3, 100, False).tokens
    assert not any(token[0].isupper() for token in train_vocabulary(TEXTS, 200, True).tokens)


def test_the_same_texts_give_the_same_pieces_in_any_order():
    # The trainer alone numbers pieces differently each time: its hash maps are seeded randomly.
    assert (
        len(
            {
                train_vocabulary(texts, 120, True).tokens
                for texts in (TEXTS, TEXTS, TEXTS[::-1], TEXTS[5:] + TEXTS[:5])
            }
        )
        == 1
    )


@pytest.mark.parametrize("texts", [[], ["", "  "]], ids=["none", "blank"])
def test_nothing_to_learn_from(texts):
    with pytest.raises(DataError, match="no word to learn"):
        train_vocabulary(texts, 100, True)


def test_an_iterator_that_ends_after_one_pass_is_a_mistake_of_the_caller():
    with pytest.raises(TypeError, match="twice"):
        train_vocabulary(iter(TEXTS), 100, True)


def test_vocabulary_without_words_is_refused():
    cut = Vocabulary(
        tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[unused0]", "[unused"), lower_case=True
    )
    with pytest.raises(DataError, match="6 pieces cannot be used"):
        WordPiece(cut)


SAMPLES = {
    "thai": "ผู้ที่ น้ำ ที่นั่น",
    "hindi": "हिन्दी की में",
    "arabic": "مَرْحَبا كِتاب",
    "japanese": "がぎぐ パピプ",
    "czech": "příliš žluťoučký",
    "russian": "йогурт ёлка",
}
STRIPPED = {"czech": "prilis zlutoucky", "russian": "иогурт елка"}


@pytest.mark.parametrize("language", SAMPLES)
def test_words_are_learned_whole_and_only_accents_of_alphabets_are_stripped(language):
    text = SAMPLES[language]
    vocabulary = train_vocabulary([text] * 30, 300, lower_case=True)
    words = STRIPPED.get(language, unicodedata.normalize("NFC", text)).split()
    assert {*words} <= {*vocabulary.tokens}
    ids = WordPiece(vocabulary)([text], 64).to_list()[0][1:-1]
    assert [vocabulary.tokens[index] for index in ids] == words


def test_latin_accents_are_stripped_beside_words_with_vowel_signs():
    vocabulary = train_vocabulary(["Caf\u00e9 \u0e17\u0e35\u0e48"] * 30, 300, lower_case=True)
    assert vocabulary.strip_accents == "alphabetic"
    assert {"cafe", "\u0e17\u0e35\u0e48"} <= {*vocabulary.tokens}


def test_endless_words_are_learned_in_parts_that_can_be_looked_up():
    vocabulary = train_vocabulary(["a" * 200_000, "g" * 300 + " word"] * 2, 300, lower_case=True)
    assert max(len(token.removeprefix("##").encode()) for token in vocabulary.tokens) <= 256
    assert WordPiece(vocabulary)(["word"], 8).shape[0] == 1
