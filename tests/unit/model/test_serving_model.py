from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.config.schema import Precision
from components.errors import ConfigError, DataError
from components.model import serving_model
from components.model.classifier import Classifier, build_classifier
from components.model.dropout import DropoutSeed
from components.model.encoders.hub_layer import HubEncoder
from components.model.serving_model import (
    OUTPUT_NAMES,
    SIGNATURE_NAME,
    Scorer,
    ServingModel,
    load_scorer,
    save_serving_model,
)
from components.model.tokenizer import WordPiece
from tests.support.releases.word_rule import WordRule
from tests.support.training.tiny_checkpoint import CLASSES, MODEL, VOCABULARY

ANSWERS = {"w1": 1, "w2": 2, "w3": 0}


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("served")
    save_serving_model(ServingModel(WordRule(ANSWERS), VOCABULARY, CLASSES, 20), directory)
    return directory


def test_the_signature_takes_strings_and_gives_label_index_and_scores(saved_model: Path) -> None:
    signature = tf.saved_model.load(str(saved_model)).signatures[SIGNATURE_NAME]
    assert signature.structured_input_signature[1]["text"] == tf.TensorSpec(
        [None], tf.string, "text"
    )
    answer = signature(text=tf.constant(["w2 w1", "w1"]))
    assert set(answer) == set(OUTPUT_NAMES)
    assert answer["label"].numpy().tolist() == [b"odd", b"loud"]
    assert (answer["label_index"].dtype, answer["label_index"].numpy().tolist()) == (
        tf.int32,
        [2, 1],
    )
    assert (answer["scores"].dtype, answer["scores"].shape) == (tf.float32, (2, 3))
    np.testing.assert_allclose(answer["scores"].numpy().sum(axis=1), 1, rtol=1e-6)


def test_scores_come_in_the_texts_order_whatever_the_batches(saved_model: Path) -> None:
    scorer = load_scorer(saved_model)
    texts = ["w1 " * length for length in (3, 1, 30)] + ["w2", "w3 w1 w1", ""]
    many = texts * serving_model.DEFAULT_BATCH_SIZE
    scores = scorer(many)
    assert scores[: len(texts)].argmax(axis=1).tolist() == [1, 1, 1, 2, 0, 0]
    np.testing.assert_array_equal(scores[-len(texts) :], scorer(texts))


def test_no_texts_give_no_scores(saved_model: Path) -> None:
    assert load_scorer(saved_model)([]).shape == (0, 3)


def test_the_directory_is_self_contained(saved_model: Path, tmp_path: Path) -> None:
    shutil.copytree(saved_model, tmp_path / "elsewhere")
    assert load_scorer(tmp_path / "elsewhere")(["w1"]).argmax() == 1
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir() if path.is_file()) == [
        "fingerprint.pb",
        "saved_model.pb",
    ]


def test_lone_surrogates_are_scored_as_unknown_characters(saved_model: Path) -> None:
    scores = load_scorer(saved_model)(["w1 \ud800", "w1 ?"])
    np.testing.assert_array_equal(scores[0], scores[1])


TEXTS = [
    "w1 w2 w3",
    "",
    " \t ",
    "w7 " * 10_000,
    "\U0001f600 w4 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "w5 \u043c\u0438\u0440 \u4e16\u754c \u0645\u0631\u062d\u0628\u0627",
    "[SEP] w6 \ufb01 \u2026 e\u0301 \u00e9",
]


def test_served_scores_are_the_offline_ones_and_only_serving_is_in_the_graph(
    tmp_path: Path,
) -> None:
    model = build_classifier(MODEL, VOCABULARY, len(CLASSES), seed=3)
    save_serving_model(ServingModel(model, VOCABULARY, CLASSES, MODEL.max_length), tmp_path)
    tokenizer = WordPiece(VOCABULARY)
    served = load_scorer(tmp_path)(TEXTS)
    for text, scores in zip(TEXTS, served, strict=True):
        ids = tokenizer(tf.constant([text]), MODEL.max_length).to_tensor()
        assert ids.shape[1] <= MODEL.max_length
        offline = tf.nn.softmax(model({"input_word_ids": ids})).numpy()[0]
        np.testing.assert_allclose(scores, offline, atol=1e-6, err_msg=text[:20])
    assert np.isfinite(served).all()
    graph = (tmp_path / "saved_model.pb").read_bytes()
    assert b"call_and_return" not in graph
    assert b"ropout" not in graph


def test_what_is_not_a_kubert_model_is_refused(tmp_path: Path) -> None:
    module = tf.Module()
    module.double = tf.function(
        lambda x: {"y": x + x}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")]
    )
    tf.saved_model.save(module, str(tmp_path / "other"), signatures=module.double)
    with pytest.raises(DataError, match="no signature serving_default from text"):
        load_scorer(tmp_path / "other")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"\xff\xff\xff", "not a saved model"), (b"", "holds no graph")],
)
def test_what_is_not_a_saved_model_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_scorer(tmp_path)


def test_a_model_without_its_weights_is_refused(saved_model: Path, tmp_path: Path) -> None:
    shutil.copytree(saved_model, tmp_path / "broken")
    (tmp_path / "broken" / "variables" / "variables.index").unlink()
    with pytest.raises(DataError, match="cannot load this model"):
        load_scorer(tmp_path / "broken")


def test_a_scorer_keeps_its_weights_alive(saved_model: Path) -> None:
    scorers: list[Scorer] = [load_scorer(saved_model) for _ in range(2)]
    assert all(scorer(["w2"]).argmax() == 2 for scorer in scorers)


def test_in_bfloat16_the_scores_are_about_the_same_and_the_weights_half_as_large(
    tmp_path: Path,
) -> None:
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    scores, served = {}, {}
    for name in precisions:
        model = build_classifier(MODEL, VOCABULARY, len(CLASSES), seed=3)
        model.logits.kernel.assign(20 * model.logits.kernel)
        served[name] = ServingModel(model, VOCABULARY, CLASSES, MODEL.max_length, name)
        save_serving_model(served[name], tmp_path / name)
        scores[name] = load_scorer(tmp_path / name)(TEXTS)
    assert 0 < np.abs(scores["float32"] - scores["bfloat16"]).max() < 0.05
    kinds = {variable.dtype for variable in served["bfloat16"]._weights if len(variable.shape) == 2}
    assert tf.bfloat16 in kinds


def test_an_encoder_with_a_graph_of_its_own_cannot_be_served_in_bfloat16() -> None:
    encoder = HubEncoder(tf.keras.layers.Layer(), hidden_size=8, has_dropout=False)
    model = Classifier(encoder, "mean", 0.1, len(CLASSES), VOCABULARY.pad_id, DropoutSeed(1))
    with pytest.raises(ConfigError, match=r"set export\.precision to float32"):
        ServingModel(model, VOCABULARY, CLASSES, 20, "bfloat16")
