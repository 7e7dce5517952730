import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.config.schema import ModelConfig
from components.errors import ConfigError, DataError
from components.model import encoders
from components.model.encoders import hugging_face
from components.model.encoders.checkpoint import checkpoint_files, tokenizer_files
from tests.support.training import tiny_bert

GOLDEN = Path(__file__).parents[2] / "data"


def _build(encoder, **options):
    config = ModelConfig.model_validate(
        {"encoder": str(encoder), "max_length": 16, "pooling": "mean", **options}
    )
    vocabulary = encoders.load_vocabulary(config)
    assert vocabulary is not None
    return encoders.build_encoder(config, vocabulary, seed=1)


def _assert_golden(encoder, name):
    golden = json.loads((GOLDEN / name).read_text(encoding="utf-8"))
    inputs = {key: tf.constant(value, tf.int32) for key, value in golden["inputs"].items()}
    outputs = encoder(inputs)
    hidden, pooled = outputs["sequence_output"].numpy(), outputs["pooled_output"].numpy()
    rows, units = slice(*golden["rows"]), slice(*golden["units"])
    np.testing.assert_allclose(hidden[:, rows, units], golden["hidden"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(pooled[:, units], golden["pooled"], atol=1e-4, rtol=0)
    mask = np.array(golden["inputs"]["input_mask"])[:, :, None]
    np.testing.assert_allclose(
        (np.square(hidden.astype(float)) * mask).sum((1, 2)), golden["hidden_squares"], rtol=1e-5
    )
    np.testing.assert_allclose(
        np.square(pooled.astype(float)).sum(1), golden["pooled_squares"], rtol=1e-5
    )


def test_minilm_computes_what_the_reference_computes():
    _assert_golden(_build("minilm"), "golden_minilm.json")


@pytest.mark.parametrize("prefix", ["bert.", ""], ids=["with_prefix", "without_prefix"])
def test_a_checkpoint_of_other_sizes_computes_what_the_reference_computes(tmp_path, prefix):
    directory = tiny_bert.write(tmp_path / "tiny", tiny_bert.tensors(prefix))
    _assert_golden(_build(f"hf:{directory}"), "golden_tiny.json")


@pytest.mark.parametrize("pooling", ["cls", "pooled"])
def test_what_is_pooled_from_the_first_token_needs_no_other_and_is_the_same(tmp_path, pooling):
    directory = tiny_bert.write(tmp_path / "tiny")
    whole, first = _build(f"hf:{directory}"), _build(f"hf:{directory}", pooling=pooling)
    ids = tf.constant([[2, 7, 11, 3], [2, 9, 3, 0]])
    inputs = {"input_word_ids": ids, "input_mask": tf.cast(ids != 0, tf.int32)}
    expected, found = whole(inputs), first(inputs)
    assert found["sequence_output"].shape[1] == 1
    np.testing.assert_allclose(
        found["sequence_output"], expected["sequence_output"][:, :1], atol=1e-5
    )
    np.testing.assert_allclose(found["pooled_output"], expected["pooled_output"], atol=1e-5)


def test_layer_norms_of_old_checkpoints_are_called_gamma_and_beta(tmp_path):
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in tiny_bert.tensors().items()
    }
    _assert_golden(_build(f"hf:{tiny_bert.write(tmp_path / 'tiny', old)}"), "golden_tiny.json")


def test_heads_of_other_tasks_and_position_ids_are_left_aside(tmp_path):
    more = {
        **tiny_bert.tensors(),
        "cls.predictions.bias": np.zeros(40, np.float32),
        "bert.embeddings.position_ids": np.arange(20).reshape(1, 20),
    }
    _assert_golden(_build(f"hf:{tiny_bert.write(tmp_path / 'tiny', more)}"), "golden_tiny.json")


def test_half_precision_weights_are_widened(tmp_path):
    half = {name: value.astype(np.float16) for name, value in tiny_bert.tensors().items()}
    encoder = _build(f"hf:{tiny_bert.write(tmp_path / 'tiny', half)}")
    assert {variable.dtype for variable in encoder.variables} == {tf.float32}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "roberta"),
        ("model_type", None),
        ("hidden_act", "gelu_new"),
        ("hidden_act", "relu"),
        ("position_embedding_type", "relative_key"),
        ("layer_norm_eps", 0),
        ("layer_norm_eps", "small"),
        ("is_decoder", True),
        ("hidden_size", "24"),
        ("num_hidden_layers", 0),
        ("num_attention_heads", 5),
        ("vocab_size", 30),
    ],
)
def test_a_config_that_cannot_be_represented_is_refused_by_field(tmp_path, field, value):
    directory = tiny_bert.write(tmp_path / "tiny", **{field: value})
    with pytest.raises(ConfigError, match=field):
        _build(f"hf:{directory}")


def _without(name):
    return {key: value for key, value in tiny_bert.tensors().items() if key != name}


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        (
            _without("bert.encoder.layer.1.output.dense.bias"),
            r"missing: encoder\.layer\.1\.output\.dense\.bias",
        ),
        (_without("bert.pooler.dense.bias"), r"missing: pooler\.dense\.bias"),
        (
            {
                **tiny_bert.tensors(),
                "bert.encoder.layer.2.output.dense.bias": np.zeros(24, np.float32),
            },
            r"bert\.encoder\.layer\.2",
        ),
        ({**tiny_bert.tensors(""), "adapter.weight": np.zeros(2, np.float32)}, r"adapter\.weight"),
        (
            {**tiny_bert.tensors(), "bert.embeddings.LayerNorm.bias": np.zeros(23, np.float32)},
            r"LayerNorm\.bias has shape \[23\].* \[24\]",
        ),
        ({"x": np.zeros(1, np.float32)}, "and 28 more"),
    ],
    ids=[
        "missing",
        "half_a_pooler",
        "extra_layer",
        "extra_without_prefix",
        "other_shape",
        "something_else",
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, weights, named):
    directory = tiny_bert.write(tmp_path / "tiny", weights)
    with pytest.raises(DataError, match=named):
        _build(f"hf:{directory}")


def test_without_a_pooler_only_other_poolings_work(tmp_path):
    directory = tiny_bert.write(tmp_path / "tiny", tiny_bert.tensors(pooler=False))
    with pytest.raises(ConfigError, match=r"model\.pooling.*no pooler.*mean or cls"):
        _build(f"hf:{directory}", pooling="auto")
    encoder = _build(f"hf:{directory}", pooling="cls")
    assert not any("pooler" in variable.name for variable in encoder.trainable_variables)


def test_more_tokens_than_positions_are_refused(tmp_path):
    directory = tiny_bert.write(tmp_path / "tiny")
    with pytest.raises(ConfigError, match=r"model\.max_length 21.*20 positions"):
        _build(f"hf:{directory}", max_length=21)


def test_texts_tokenized_with_another_vocabulary_are_refused(tmp_path):
    config = ModelConfig(encoder=f"hf:{tiny_bert.write(tmp_path / 'tiny')}", max_length=16)
    other = encoders.load_vocabulary(ModelConfig(encoder="minilm"))
    assert other is not None
    with pytest.raises(ConfigError, match="another vocabulary"):
        encoders.build_encoder(config, other, seed=1)


def test_a_frozen_encoder_has_nothing_to_train(tmp_path):
    encoder = _build(f"hf:{tiny_bert.write(tmp_path / 'tiny')}", freeze=True)
    assert encoder.trainable_variables == []
    assert encoder.variables


@pytest.mark.parametrize(
    ("break_it", "error", "message"),
    [
        (lambda d: (d / "config.json").unlink(), DataError, r"config\.json: missing"),
        (
            lambda d: (d / "config.json").write_text("{"),
            DataError,
            r"config\.json: not readable as JSON",
        ),
        (
            lambda d: (d / "config.json").write_text("[]"),
            DataError,
            r"config\.json: must hold a JSON object",
        ),
        (
            lambda d: (d / "vocab.txt").unlink(),
            DataError,
            r"neither vocab\.txt nor a tokenizer\.json",
        ),
        (lambda d: (d / "vocab.txt").write_bytes(b"\xff\xfe"), DataError, r"vocab\.txt: not UTF-8"),
        (lambda d: (d / "vocab.txt").write_text("[PAD]\na\n"), DataError, r"no \[UNK\]"),
        (lambda d: (d / "model.safetensors").unlink(), DataError, r"model\.safetensors: missing"),
        (
            lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"),
            DataError,
            r"pytorch_model\.bin cannot be read",
        ),
        (
            lambda d: (d / "model.safetensors").write_bytes(b"\x00" * 100),
            DataError,
            "not a readable safetensors file",
        ),
        (
            lambda d: (d / "tokenizer_config.json").write_text('{"tokenize_chinese_chars": false}'),
            ConfigError,
            "tokenize_chinese_chars",
        ),
    ],
    ids=[
        "no_config",
        "config_cut",
        "config_a_list",
        "no_vocabulary",
        "vocabulary_not_text",
        "no_special_tokens",
        "no_weights",
        "only_a_pickle",
        "weights_damaged",
        "joins_chinese",
    ],
)
def test_a_broken_directory_is_refused_by_file(tmp_path, break_it, error, message):
    directory = tiny_bert.write(tmp_path / "tiny")
    break_it(directory)
    with pytest.raises(error, match=message):
        _build(f"hf:{directory}")


@pytest.mark.parametrize(
    ("options", "tokenizer", "expected"),
    [
        ({"do_lower_case": False}, {"normalizer": {"lowercase": True}}, False),
        ({"do_lower_case": True}, {"normalizer": {"lowercase": False}}, True),
        ({}, {"normalizer": {"lowercase": False}}, False),
        ({}, {"normalizer": {}}, True),
        (None, None, True),
    ],
    ids=[
        "options_say_no",
        "options_say_yes",
        "tokenizer_says_no",
        "tokenizer_is_silent",
        "neither_file",
    ],
)
def test_lower_case_comes_from_the_tokenizer_options_then_the_tokenizer(
    tmp_path, options, tokenizer, expected
):
    directory = tiny_bert.write(tmp_path / "tiny")
    (directory / "tokenizer_config.json").unlink()
    for name, content in (("tokenizer_config.json", options), ("tokenizer.json", tokenizer)):
        if content is not None:
            (directory / name).write_text(json.dumps(content))
    assert tokenizer_files.read_vocabulary(directory).lower_case is expected


def test_the_vocabulary_may_stand_in_tokenizer_json_alone(tmp_path):
    directory = tiny_bert.write(tmp_path / "tiny")
    expected = tokenizer_files.read_vocabulary(directory)
    (directory / "vocab.txt").unlink()
    ids = {piece: i for i, piece in reversed(list(enumerate(expected.tokens)))}
    (directory / "tokenizer.json").write_text(
        json.dumps({"model": {"type": "WordPiece", "vocab": ids}})
    )
    assert tokenizer_files.read_vocabulary(directory) == expected


def test_a_piece_may_hold_a_separator_that_is_no_newline(tmp_path):
    directory = tiny_bert.write(tmp_path / "tiny")
    with (directory / "vocab.txt").open("a", encoding="utf-8") as stream:
        stream.write("\u2028\n\u0085\n")
    assert tokenizer_files.read_vocabulary(directory).tokens[-2:] == ("\u2028", "\u0085")


@pytest.mark.parametrize("name", ["/no/such/path", "./nowhere", "a/b/c"])
def test_a_missing_directory_is_not_looked_up_as_a_repository(name):
    with pytest.raises(ConfigError, match="there is no directory"):
        hugging_face.locate_checkpoint(f"hf:{name}")


def test_a_name_that_no_repository_can_have_is_refused():
    with pytest.raises(ConfigError, match="neither a directory nor a repository id"):
        hugging_face.locate_checkpoint("hf:what is this?")


def test_a_repository_that_cannot_be_reached_is_named(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ConfigError,
        match=r"hf:google-bert/bert-base-uncased: cannot be downloaded .*local directory",
    ):
        hugging_face.locate_checkpoint("hf:google-bert/bert-base-uncased")


def test_sizes_are_read_from_the_config():
    assert checkpoint_files.parse_sizes(tiny_bert.CONFIG, "here") == checkpoint_files.BertSizes(
        40, 24, 2, 3, 40, 20, 3, 1e-6
    )


def test_a_vocabulary_that_was_cut_is_refused(tmp_path):
    directory = tiny_bert.write(tmp_path / "tiny")
    pieces = (directory / "vocab.txt").read_text().splitlines()
    (directory / "tokenizer.json").write_text(
        json.dumps({"model": {"type": "WordPiece", "vocab": {p: i for i, p in enumerate(pieces)}}})
    )
    (directory / "vocab.txt").write_text("\n".join(pieces[:-5]) + "\n")
    with pytest.raises(
        DataError,
        match=f"{len(pieces) - 5} word pieces, but tokenizer.json beside it has {len(pieces)}",
    ):
        tokenizer_files.read_vocabulary(directory)
