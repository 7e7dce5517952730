"""A tokenizer is what its files say, or it is refused with file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.config.schema import ModelConfig
from components.errors import ConfigError, DataError
from components.model.encoders import hugging_face, resolve_pooling
from components.model.encoders.checkpoint import checkpoint_files
from components.model.encoders.checkpoint.tokenizer_files import read_vocabulary
from components.model.tokenizer import WordPiece
from tests.support.training import tiny_bert

PIECES = tiny_bert.PIECES[: tiny_bert.CONFIG["vocab_size"]]
SINGLE = [
    {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
    {"Sequence": {"id": "A", "type_id": 0}},
    {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
]
TOKENIZER: dict[str, Any] = {
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "TemplateProcessing", "single": SINGLE},
    "added_tokens": [{"id": 0, "content": "[PAD]"}, {"id": 4, "content": "[MASK]"}],
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "vocab": {piece: index for index, piece in enumerate(PIECES)},
    },
}


def write(directory: Path, **files: Any) -> Path:
    """A tiny checkpoint; `files` replace its JSON files, named without their suffix."""
    checkpoint = tiny_bert.write(directory / "tiny")
    for name, content in files.items():
        (checkpoint / f"{name}.json").write_text(json.dumps(content))
    return checkpoint


def change_section(section: str, **values: Any) -> dict[str, Any]:
    return {**TOKENIZER, section: {**TOKENIZER[section], **values}}


def test_a_complete_bert_tokenizer_is_read(tmp_path: Path) -> None:
    assert read_vocabulary(write(tmp_path, tokenizer=TOKENIZER)).tokens == PIECES


OPTIONS, SPECIAL = "tokenizer_config", "special_tokens_map"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "sentencepiece-class": (OPTIONS, {"tokenizer_class": "KoBertTokenizer"}, "tokenizer_class is"),
    "mecab": (OPTIONS, {"word_tokenizer_type": "mecab"}, "word_tokenizer_type is 'mecab'"),
    "characters": (OPTIONS, {"subword_tokenizer_type": "character"}, "subword_tokenizer_type is"),
    "chinese-unsplit": (
        OPTIONS,
        {"tokenize_chinese_chars": False},
        "tokenize_chinese_chars is False",
    ),
    "never-split": (OPTIONS, {"never_split": ["C++"]}, "never_split is"),
    "other-unknown-token": (OPTIONS, {"unk_token": "<unk>"}, "unk_token is '<unk>'"),
    "other-special-token": (SPECIAL, {"cls_token": {"content": "<s>"}}, "cls_token is '<s>'"),
    "additional-token": (
        SPECIAL,
        {"additional_special_tokens": ["[ENTITY]"]},
        "additional_special_tokens is",
    ),
    "added-token": ("added_tokens", {"covid": 40}, "a token is 'covid'"),
    "added-token-of-the-options": (
        OPTIONS,
        {"added_tokens_decoder": {"40": {"content": "covid"}}},
        "added_tokens_decoder is 'covid'",
    ),
    "added-token-of-the-tokenizer": (
        "tokenizer",
        {**TOKENIZER, "added_tokens": [{"content": "covid"}]},
        "added_tokens is 'covid'",
    ),
    "another-normalizer": (
        "tokenizer",
        change_section("normalizer", type="Sequence"),
        "normalizer.type is 'Sequence'",
    ),
    "no-normalizer": ("tokenizer", {**TOKENIZER, "normalizer": None}, "normalizer.type is None"),
    "another-pre-tokenizer": (
        "tokenizer",
        change_section("pre_tokenizer", type="ByteLevel"),
        "pre_tokenizer.type is 'ByteLevel'",
    ),
    "another-model": ("tokenizer", change_section("model", type="BPE"), "model.type is 'BPE'"),
    "another-prefix": (
        "tokenizer",
        change_section("model", continuing_subword_prefix="@@"),
        "model.continuing_subword_prefix is '@@'",
    ),
    "another-template": (
        "tokenizer",
        change_section("post_processor", single=SINGLE[1:]),
        "post_processor.single is",
    ),
}


@pytest.mark.parametrize(("file", "content", "message"), REFUSED.values(), ids=REFUSED)
def test_another_tokenizer_is_refused_with_file_and_field(
    tmp_path: Path, file: str, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"tiny/{file}\.json: {message}"):
        read_vocabulary(write(tmp_path, **{file: content}))


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer_78b3.model", "merges.txt"])
def test_a_file_of_another_kind_of_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    checkpoint = write(tmp_path)
    (checkpoint / name).touch()
    with pytest.raises(ConfigError, match=f"{name}: a file of another kind of tokenizer"):
        read_vocabulary(checkpoint)


@pytest.mark.parametrize("mark", ["\u2581", "\u0120"], ids=["sentencepiece", "byte-level"])
def test_pieces_of_another_tokenizer_are_refused(tmp_path: Path, mark: str) -> None:
    checkpoint = write(tmp_path)
    pieces = [f"{mark}{piece}" if len(piece) == 3 else piece for piece in PIECES]
    (checkpoint / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="pieces of the vocabulary begin with"):
        read_vocabulary(checkpoint)


@pytest.mark.parametrize(("piece", "lower_case"), [("Dog", False), ("dog", True)])
def test_case_comes_from_the_vocabulary_where_no_file_tells_it(
    tmp_path: Path, piece: str, lower_case: bool
) -> None:
    checkpoint = write(tmp_path)
    (checkpoint / "tokenizer_config.json").unlink()
    with (checkpoint / "vocab.txt").open("a") as stream:
        stream.write(f"{piece}\n")
    assert read_vocabulary(checkpoint).lower_case is lower_case


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"do_lower_case": True, "strip_accents": False}, ["é", "a"]),
        ({"do_lower_case": True, "strip_accents": True}, ["[UNK]", "a"]),
        ({"do_lower_case": False, "strip_accents": True}, ["[UNK]", "[UNK]"]),
        ({"do_lower_case": False, "strip_accents": False}, ["[UNK]", "[UNK]"]),
    ],
    ids=["lower-case-only", "both", "accents-only", "none"],
)
def test_accents_are_stripped_apart_from_case(
    tmp_path: Path, options: dict[str, bool], expected: list[str]
) -> None:
    vocabulary = read_vocabulary(write(tmp_path, tokenizer_config=options))
    # The vocabulary has é; without e, what is stripped of its accent is unknown.
    tokens = tuple("~" if piece == "e" else piece for piece in vocabulary.tokens)
    vocabulary = type(vocabulary).model_validate({**vocabulary.model_dump(), "tokens": tokens})
    ids = WordPiece(vocabulary)(["É A"], 8).to_list()[0][1:-1]
    assert [tokens[index] for index in ids] == expected


def test_weights_in_several_files_are_loaded(tmp_path: Path) -> None:
    whole = checkpoint_files.SafetensorsFiles(tiny_bert.write(tmp_path / "whole"))
    names = sorted(whole.names())
    split = tiny_bert.write(tmp_path / "split")
    (split / "model.safetensors").unlink()
    files = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: whole.read(name) for name in part}, split / file)
        files.update(dict.fromkeys(part, file))
    (split / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    found = checkpoint_files.SafetensorsFiles(split)
    assert sorted(found.names()) == sorted(checkpoint_files.read_tensor_names(split)) == names
    for name in names:
        np.testing.assert_array_equal(found.read(name), whole.read(name))
    (split / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    assert sorted(checkpoint_files.SafetensorsFiles(split).names()) == names
    (split / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    (split / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(DataError, match=r"00002-of-00002\.safetensors: missing, although"):
        checkpoint_files.SafetensorsFiles(split)
    (split / "model.safetensors.index.json").unlink()
    with pytest.raises(DataError, match=r"1 of 2 files .* are there"):
        checkpoint_files.SafetensorsFiles(split)


def test_bfloat16_weights_are_read(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0], [3.0e20, 0.0078125]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    header = {"x": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + halves.tobytes()
    (tmp_path / "model.safetensors").write_bytes(content)
    read = checkpoint_files.SafetensorsFiles(tmp_path).read("x")
    np.testing.assert_array_equal(read, (halves.astype(np.uint32) << 16).view(np.float32))


def test_an_index_that_leads_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    index = {"weight_map": {"x": "../model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="not a file beside it"):
        checkpoint_files.list_weight_files(tmp_path)


def test_a_checkpoint_is_checked_before_texts_are_tokenized(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    config = ModelConfig(encoder=f"hf:{checkpoint}")
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"pytorch_model\.bin cannot be read: .*save_pretrained"):
        hugging_face.load_vocabulary(config)
    (checkpoint / "config.json").write_text(json.dumps({**tiny_bert.CONFIG, "model_type": "xlnet"}))
    with pytest.raises(ConfigError, match="model_type is 'xlnet'"):
        hugging_face.load_vocabulary(config)


@pytest.mark.parametrize(("pooler", "pooling"), [(True, "pooled"), (False, "mean")])
def test_pooling_auto_is_the_mean_where_there_is_no_pooler(
    tmp_path: Path, pooler: bool, pooling: str
) -> None:
    checkpoint = tiny_bert.write(tmp_path / "tiny", tiny_bert.tensors(pooler=pooler))
    config = ModelConfig(encoder=f"hf:{checkpoint}")
    assert resolve_pooling(config).resolved_pooling == pooling


def test_the_installed_minilm_has_a_bert_tokenizer() -> None:
    vocabulary = read_vocabulary(hugging_face.locate_checkpoint("minilm"))
    assert (len(vocabulary), vocabulary.lower_case) == (30522, True)
