import http.server
import tarfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.models.export_hub_encoder import export_encoder, export_preprocessor
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError, DataError
from components.model import encoders
from components.model.classifier import build_classifier
from components.model.encoders import bert, tf_hub
from components.model.encoders.checkpoint import bert_weights, checkpoint_files, tokenizer_files
from tests.support.training import tiny_bert

IDS = np.array([[2, 35, 36, 37, 3, 0, 0, 0], [2, 5, 31, 32, 9, 30, 22, 3]], np.int32)
CASED = Vocabulary(
    tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The"), lower_case=False
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_bert.write(tmp_path_factory.mktemp("bert") / "tiny")


@pytest.fixture(scope="module")
def vocabulary(checkpoint):
    return tokenizer_files.read_vocabulary(checkpoint)


def _export(checkpoint, vocabulary, directory):
    network = bert.build_network(checkpoint_files.parse_sizes(tiny_bert.CONFIG, "tiny"), 0.3, None)
    tensors = checkpoint_files.SafetensorsFiles(checkpoint)
    bert_weights.load_weights(network, tensors.names(), tensors.read, "tiny")
    export_encoder(network, vocabulary, directory)
    return directory


@pytest.fixture(scope="module")
def exported_encoder(checkpoint, vocabulary, tmp_path_factory):
    return _export(checkpoint, vocabulary, tmp_path_factory.mktemp("hub") / "encoder")


@pytest.fixture(scope="module")
def without_vocabulary(checkpoint, tmp_path_factory):
    return _export(checkpoint, None, tmp_path_factory.mktemp("hub") / "bare")


@pytest.fixture(scope="module")
def preprocessor(vocabulary, tmp_path_factory):
    directory = tmp_path_factory.mktemp("hub") / "preprocessor"
    export_preprocessor(vocabulary, directory, length=16)
    return directory


def _config(encoder, **options):
    return ModelConfig.model_validate({"encoder": f"hub:{encoder}", "max_length": 16, **options})


def _drops(classifier, training):
    inputs = {"input_word_ids": tf.constant(IDS)}
    with classifier.dropout_seed.for_rows(0, 0):
        return float(
            np.abs(
                classifier.features(inputs, training=training) - classifier.features(inputs)
            ).max()
        )


@pytest.mark.parametrize("pooling", ["pooled", "mean", "cls"])
def test_an_exported_encoder_gives_the_numbers_of_the_original(
    checkpoint, exported_encoder, vocabulary, pooling
):
    original = build_classifier(
        ModelConfig(encoder=f"hf:{checkpoint}", max_length=16, pooling=pooling), vocabulary, 4, 1
    )
    classifier = build_classifier(_config(exported_encoder, pooling=pooling), vocabulary, 4, 1)
    inputs = {"input_word_ids": tf.constant(IDS)}
    np.testing.assert_allclose(classifier(inputs), original(inputs), atol=1e-5)


def test_all_weights_are_trained_and_inner_dropout_works(exported_encoder, vocabulary):
    classifier = build_classifier(_config(exported_encoder), vocabulary, 4, 1)
    with tf.GradientTape() as tape, classifier.dropout_seed.for_rows(0, 0):
        loss = tf.reduce_sum(
            tf.square(classifier({"input_word_ids": tf.constant(IDS)}, training=True))
        )
    gradients = tape.gradient(loss, classifier.trainable_variables)
    assert len(gradients) == 5 + 16 * 2 + 2 + 2
    assert all(gradient is not None for gradient in gradients)
    assert _drops(classifier, training=True) > 0.01


def test_without_dropout_the_graph_drops_nothing(exported_encoder, vocabulary):
    assert (
        _drops(
            build_classifier(_config(exported_encoder, dropout=0), vocabulary, 4, 1), training=True
        )
        == 0
    )


def test_a_frozen_encoder_is_only_read(exported_encoder, vocabulary):
    classifier = build_classifier(_config(exported_encoder, freeze=True), vocabulary, 4, 1)
    assert len(classifier.trainable_variables) == 2
    assert _drops(classifier, training=True) == 0


def test_the_vocabulary_is_the_encoders_own(exported_encoder, vocabulary):
    assert encoders.load_vocabulary(_config(exported_encoder)) == vocabulary


def test_the_vocabulary_of_a_preprocessor_is_used_where_one_is_named(
    without_vocabulary, preprocessor, vocabulary
):
    config = _config(without_vocabulary, preprocessor=str(preprocessor))
    assert encoders.load_vocabulary(config) == vocabulary
    assert build_classifier(config, vocabulary, 4, 1)(
        {"input_word_ids": tf.constant(IDS)}
    ).shape == (2, 4)


def test_a_cased_preprocessor_is_known_by_what_it_does(without_vocabulary, tmp_path):
    export_preprocessor(CASED, tmp_path / "cased", length=8)
    assert (
        encoders.load_vocabulary(_config(without_vocabulary, preprocessor=str(tmp_path / "cased")))
        == CASED
    )


def test_without_any_vocabulary_a_preprocessor_is_asked_for(without_vocabulary):
    with pytest.raises(ConfigError, match=r"holds no vocabulary.*model\.preprocessor"):
        encoders.load_vocabulary(_config(without_vocabulary))


def test_texts_tokenized_with_another_vocabulary_are_refused(exported_encoder):
    with pytest.raises(ConfigError, match="another vocabulary"):
        encoders.build_encoder(_config(exported_encoder), CASED, 1)


def test_an_encoder_that_is_no_preprocessor_is_refused_as_one(without_vocabulary, exported_encoder):
    with pytest.raises(
        ConfigError, match=r"model\.preprocessor .*does not turn texts into input_word_ids"
    ):
        encoders.load_vocabulary(_config(without_vocabulary, preprocessor=str(exported_encoder)))
    with pytest.raises(
        ConfigError, match=r"model\.preprocessor .*must hold one vocabulary file, found none"
    ):
        encoders.load_vocabulary(_config(without_vocabulary, preprocessor=str(without_vocabulary)))


def test_more_tokens_than_positions_are_refused(exported_encoder, vocabulary):
    with pytest.raises(ConfigError, match=r"model\.max_length 21: longer than"):
        encoders.build_encoder(_config(exported_encoder, max_length=21), vocabulary, 1)


class _Other(tf.Module):
    """A SavedModel that takes or gives something else."""

    def __init__(self, vocabulary_file, call):
        super().__init__()
        self.vocab_file = tf.saved_model.Asset(vocabulary_file)
        self.do_lower_case = tf.Variable(True, trainable=False)
        self.__call__ = call


def _call_with(names, outputs):
    spec = {name: tf.TensorSpec([None, None], tf.int32) for name in names}

    @tf.function(input_signature=[spec])
    def call(inputs):
        value = tf.one_hot(next(iter(inputs.values())), 4)
        return dict.fromkeys(outputs, value)

    return call


@pytest.mark.parametrize(
    ("inputs", "outputs", "freeze", "message"),
    [
        (
            ("input_ids", "attention_mask"),
            ("pooled_output", "sequence_output"),
            True,
            "cannot be called with input_word_ids",
        ),
        (
            ("input_word_ids", "input_mask", "input_type_ids"),
            ("default",),
            True,
            "no pooled_output and no sequence_output",
        ),
        (
            ("input_word_ids", "input_mask", "input_type_ids"),
            ("pooled_output", "sequence_output"),
            False,
            "without trainable variables",
        ),
    ],
    ids=["other_inputs", "other_outputs", "nothing_to_train"],
)
def test_a_model_that_is_no_bert_encoder_is_refused(
    tmp_path, checkpoint, vocabulary, inputs, outputs, freeze, message
):
    tf.saved_model.save(
        _Other(str(checkpoint / "vocab.txt"), _call_with(inputs, outputs)), str(tmp_path)
    )
    with pytest.raises(ConfigError, match=message):
        encoders.build_encoder(_config(tmp_path, freeze=freeze), vocabulary, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/path", "there is no directory"),
        ("../nowhere", "there is no directory"),
        ("small_bert", "there is no directory"),
        ("gs://bucket/encoder", "copy it to a local directory"),
        (".", r"holds no saved_model\.pb"),
    ],
)
def test_a_path_without_a_model_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        tf_hub.locate_saved_model(f"hub:{name}")


def test_a_damaged_model_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 50)
    with pytest.raises(DataError, match=r"saved_model\.pb cannot be read"):
        encoders.load_vocabulary(_config(tmp_path))


@pytest.mark.parametrize(
    ("handle", "url"),
    [
        (
            "tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1",
            "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1",
        ),
        (
            "tensorflow/bert/tensorFlow2/bert-en-uncased-l-4-h-512-a-8/2",
            "https://www.kaggle.com/models/tensorflow/bert/tensorFlow2/bert-en-uncased-l-4-h-512-a-8/2",
        ),
        (
            "https://www.kaggle.com/models/a/b/tensorFlow2/c/1",
            "https://www.kaggle.com/models/a/b/tensorFlow2/c/1",
        ),
        ("https://tfhub.dev/a/b/1", "https://tfhub.dev/a/b/1"),
    ],
    ids=["tfhub", "kaggle", "kaggle_url", "tfhub_url"],
)
def test_handles_are_taken_as_people_write_them(handle, url):
    assert tf_hub.resolve_url(handle) == url


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The address and the directory of a web server on loopback."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "site"
    root.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", root
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_downloaded_once_and_unpacked(site, exported_encoder, vocabulary):
    url, root = site
    with tarfile.open(root / "1", "w:gz") as packed:
        packed.add(exported_encoder, ".")
    config = _config(f"{url}/1")
    assert encoders.load_vocabulary(config) == vocabulary
    (root / "1").unlink()
    assert encoders.compute_fingerprint(config) == encoders.compute_fingerprint(
        _config(exported_encoder)
    )


def test_a_url_that_is_not_found_or_sends_something_else_is_refused(site):
    url, root = site
    (root / "page").write_text("<html>")
    with pytest.raises(ConfigError, match="answers 404"):
        tf_hub.locate_saved_model(f"hub:{url}/nothing/1")
    with pytest.raises(ConfigError, match="not a packed SavedModel"):
        tf_hub.locate_saved_model(f"hub:{url}/page")


def test_a_server_that_cannot_be_reached_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1/x cannot be reached .*local directory"):
        tf_hub.locate_saved_model("hub:http://127.0.0.1:1/x")


def test_weight_files_are_the_graph_and_the_variables(exported_encoder):
    names = tf_hub.list_weight_files(Path(exported_encoder))
    assert names == [
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
