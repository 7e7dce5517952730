"""Reads the tokenizer of a Hugging Face checkpoint, or refuses one that is no BERT WordPiece.

A tokenizer that is taken for another one trains a model that sees only [UNK], or other words than
in its pretraining, without an error. So every field that changes the pieces of a text must have a
value that `WordPiece` computes; all others are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.artifacts.vocabulary import SPECIAL_TOKENS, StripAccents, Vocabulary
from components.errors import ConfigError, DataError, shorten_value
from components.model.encoders.checkpoint.checkpoint_files import (
    build_vocabulary,
    read_json,
    read_vocabulary_file,
)

CONFIG_FILE, TOKENIZER_FILE = "tokenizer_config.json", "tokenizer.json"
SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE = "special_tokens_map.json", "added_tokens.json"
VOCABULARY_FILES = ("vocab.txt", TOKENIZER_FILE)
KNOWN_CLASSES = (
    None,
    "BertTokenizer",
    "BertTokenizerFast",
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
)
"""Values of `tokenizer_class` that mean BERT's tokenizer, or what tokenizer.json says."""
MASK_TOKEN = "[MASK]"  # noqa: S105
EXPECTED_SPECIAL_TOKENS = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": MASK_TOKEN,
}
FOREIGN_FILE_SUFFIXES = (".model", ".bpe", "merges.txt", "vocab.json")
FOREIGN_MARKS = {"\u2581": "SentencePiece", "\u0120": "byte-level BPE"}
"""What pieces of other tokenizers begin with, and which these are."""
MIN_SHARE_OF_FOREIGN_PIECES = 0.01
MIN_SHARE_OF_CAPITALS = 0.01

Check = Callable[[Any], bool]


def _is_one_of(*values: Any) -> Check:
    return lambda value: value in values


def _is_empty(value: Any) -> bool:
    return not value


CONFIG_FIELDS: Mapping[str, Check] = {
    "tokenizer_class": _is_one_of(*KNOWN_CLASSES),
    "do_basic_tokenize": _is_one_of(None, True),
    "word_tokenizer_type": _is_one_of(None, "basic"),
    "subword_tokenizer_type": _is_one_of(None, "wordpiece"),
    "tokenize_chinese_chars": _is_one_of(None, True),
    "never_split": _is_empty,
    "do_lower_case": _is_one_of(None, True, False),
    "strip_accents": _is_one_of(None, True, False),
}
"""What each field of tokenizer_config.json may be."""
TOKENIZER_FIELDS: Mapping[str, Check] = {
    "normalizer.type": _is_one_of("BertNormalizer"),
    "normalizer.clean_text": _is_one_of(None, True),
    "normalizer.handle_chinese_chars": _is_one_of(None, True),
    "normalizer.strip_accents": _is_one_of(None, True, False),
    "normalizer.lowercase": _is_one_of(None, True, False),
    "pre_tokenizer.type": _is_one_of("BertPreTokenizer"),
    "model.type": _is_one_of("WordPiece"),
    "model.unk_token": _is_one_of("[UNK]"),
    "model.continuing_subword_prefix": _is_one_of(None, "##"),
    "post_processor.type": _is_one_of(None, "TemplateProcessing", "BertProcessing"),
}
"""What each field of tokenizer.json may be."""
TEMPLATE = [("SpecialToken", "[CLS]"), ("Sequence", "A"), ("SpecialToken", "[SEP]")]
"""What TemplateProcessing may make of one text."""


def read_vocabulary(directory: Path) -> Vocabulary:
    """The word pieces in id order, and how texts are normalized.

    ConfigError, naming file and field, for a tokenizer that is no BERT WordPiece; DataError for a
    missing or damaged file.
    """
    config = read_json(directory / CONFIG_FILE, optional=True)
    tokenizer = read_json(directory / TOKENIZER_FILE, optional=True)
    _check_fields(directory / CONFIG_FILE, config, CONFIG_FIELDS)
    if tokenizer:
        _check_fields(directory / TOKENIZER_FILE, tokenizer, TOKENIZER_FIELDS)
        _check_template(directory / TOKENIZER_FILE, tokenizer)
    _check_foreign_files(directory)
    _check_special_tokens(directory, config, tokenizer)
    tokens = _read_tokens(directory, tokenizer)
    _check_pieces(directory, tokens)
    lower_case, strip_accents = _find_normalization(config, tokenizer, tokens)
    return build_vocabulary(tokens, lower_case, str(directory), strip_accents)


def _check_fields(file: Path, values: Mapping[str, Any], fields: Mapping[str, Check]) -> None:
    for name, is_supported in fields.items():
        section, _, key = name.rpartition(".")
        found = values.get(section, {}) if section else values
        if isinstance(found, Mapping) and key not in found:
            continue
        value = _get(values, name)
        if not is_supported(value):
            raise _unsupported_error(file, name, value)


def _get(values: Mapping[str, Any], name: str) -> Any:
    found: Any = values
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _unsupported_error(file: Path, field: str, value: Any) -> ConfigError:
    return ConfigError(
        f"{file}: {field} is {shorten_value(repr(value), 80)}: this is not BERT's WordPiece "
        "tokenizer, and the model would see other words than it was trained with; choose a "
        "checkpoint with a BERT tokenizer"
    )


def _check_template(file: Path, tokenizer: Mapping[str, Any]) -> None:
    if _get(tokenizer, "post_processor.type") != "TemplateProcessing":
        return
    single = _get(tokenizer, "post_processor.single")
    parts = [
        (kind, str(part.get("id")))
        for each in (single if isinstance(single, list) else [])
        for kind, part in each.items()
    ]
    if parts != TEMPLATE:
        raise _unsupported_error(file, "post_processor.single", [name for _, name in parts])


def _check_foreign_files(directory: Path) -> None:
    for path in sorted(directory.iterdir()):
        if path.name.endswith(FOREIGN_FILE_SUFFIXES):
            raise ConfigError(
                f"{path}: a file of another kind of tokenizer (SentencePiece or BPE) than BERT's "
                "WordPiece; choose a checkpoint with a BERT tokenizer"
            )


def _check_special_tokens(
    directory: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> None:
    special = read_json(directory / SPECIAL_TOKENS_FILE, optional=True)
    for file, values in ((CONFIG_FILE, config), (SPECIAL_TOKENS_FILE, special)):
        for name, expected in EXPECTED_SPECIAL_TOKENS.items():
            token = _text_of(values.get(name))
            if token not in (None, expected):
                raise _unsupported_error(directory / file, name, token)
        for token in map(_text_of, values.get("additional_special_tokens") or ()):
            if not _is_own_token(token):
                raise _unsupported_error(directory / file, "additional_special_tokens", token)
    for file, field, token in _list_added_tokens(directory, config, tokenizer):
        if not _is_own_token(token):
            raise _unsupported_error(directory / file, field, token)


def _list_added_tokens(
    directory: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> Iterator[tuple[str, str, Any]]:
    for token in (config.get("added_tokens_decoder") or {}).values():
        yield CONFIG_FILE, "added_tokens_decoder", _text_of(token)
    for token in tokenizer.get("added_tokens") or ():
        yield TOKENIZER_FILE, "added_tokens", _text_of(token)
    for token in read_json(directory / ADDED_TOKENS_FILE, optional=True):
        yield ADDED_TOKENS_FILE, "a token", token


def _text_of(token: Any) -> Any:
    return token.get("content") if isinstance(token, Mapping) else token


def _is_own_token(token: Any) -> bool:
    """Whether it is one of BERT's tokens that texts never hold: they are cut at their brackets."""
    return token in (*SPECIAL_TOKENS, MASK_TOKEN) or (
        isinstance(token, str) and token.startswith("[unused") and token.endswith("]")
    )


def _read_tokens(directory: Path, tokenizer: Mapping[str, Any]) -> list[str]:
    file = directory / "vocab.txt"
    vocabulary = _get(tokenizer, "model.vocab")
    if file.exists():
        tokens = read_vocabulary_file(file)
        if isinstance(vocabulary, Mapping) and len(tokens) != len(vocabulary):
            raise DataError(
                f"{file}: {len(tokens)} word pieces, but tokenizer.json beside it has "
                f"{len(vocabulary)}; one of them was cut or changed"
            )
        return tokens
    if not isinstance(vocabulary, Mapping) or not vocabulary:
        raise DataError(
            f"{directory}: has neither vocab.txt nor a tokenizer.json with a WordPiece vocabulary"
        )
    ids = dict(vocabulary)
    if sorted(ids.values()) != list(range(len(ids))):
        raise DataError(
            f"{directory}: tokenizer.json: the vocabulary's ids do not run from 0 to {len(ids) - 1}"
        )
    return sorted(ids, key=ids.__getitem__)


def _check_pieces(directory: Path, tokens: list[str]) -> None:
    for mark, kind in FOREIGN_MARKS.items():
        found = [token for token in tokens if token.startswith(mark) and len(token) > 1]
        if len(found) > len(tokens) * MIN_SHARE_OF_FOREIGN_PIECES:
            raise ConfigError(
                f"{directory}: {len(found)} of {len(tokens)} pieces of the vocabulary begin with "
                f"{mark!r}, as in a {kind} vocabulary, which is not BERT's WordPiece; choose a "
                "checkpoint with a BERT tokenizer"
            )


def _find_normalization(
    config: Mapping[str, Any], tokenizer: Mapping[str, Any], tokens: list[str]
) -> tuple[bool, StripAccents | None]:
    """Whether texts are lower-cased, and which accents are stripped (None: as lower_case says)."""
    lower_case = _first_given(config.get("do_lower_case"), _get(tokenizer, "normalizer.lowercase"))
    if lower_case is None:
        lower_case = not _has_capitals(tokens)
    strips = _first_given(config.get("strip_accents"), _get(tokenizer, "normalizer.strip_accents"))
    if strips is None:
        return lower_case, None
    return lower_case, "all" if strips else "none"


def _first_given(*values: bool | None) -> bool | None:
    return next((value for value in values if value is not None), None)


def _has_capitals(tokens: list[str]) -> bool:
    """Whether words with capital letters are in the vocabulary, as in a cased one."""
    words = [token for token in tokens if not token.startswith("[")]
    capitals = sum(word != word.lower() for word in words)
    return capitals > len(words) * MIN_SHARE_OF_CAPITALS
