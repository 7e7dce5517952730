import os
import subprocess
import sys

import numpy as np
import pytest

from components.config.schema import ModelConfig
from components.model import encoders
from tests.support.training import tiny_bert


def _tiny(directory, **options):
    return ModelConfig.model_validate({"encoder": f"hf:{directory}", "max_length": 16, **options})


def test_scratch_has_no_vocabulary_of_its_own():
    assert encoders.load_vocabulary(ModelConfig(encoder="scratch")) is None


def test_minilm_knows_thirty_thousand_lower_cased_pieces():
    vocabulary = encoders.load_vocabulary(ModelConfig(encoder="minilm"))
    assert vocabulary is not None
    assert (len(vocabulary), vocabulary.lower_case, vocabulary.pad_id) == (30522, True, 0)


def test_minilm_is_the_same_weights_by_name_and_by_directory():
    from components.model.encoders import hugging_face

    by_name = ModelConfig(encoder="minilm", pooling="mean")
    by_directory = ModelConfig(
        encoder=f"hf:{hugging_face.locate_checkpoint('minilm')}", pooling="mean"
    )
    assert encoders.compute_fingerprint(by_name) == encoders.compute_fingerprint(by_directory)


def test_the_hidden_size_is_read_without_the_weights(tmp_path):
    directory = tiny_bert.write(tmp_path / "a")
    (directory / "model.safetensors").unlink()
    assert encoders.find_hidden_size(_tiny(directory)) == 24
    assert encoders.find_hidden_size(ModelConfig(encoder="minilm")) == 384
    assert encoders.find_hidden_size(ModelConfig(encoder="scratch", hidden_size=96)) == 96
    assert encoders.find_hidden_size(ModelConfig(encoder="hub:/no/such/model")) is None


def test_a_fingerprint_follows_the_content_and_not_the_path(tmp_path):
    first = tiny_bert.write(tmp_path / "a")
    same = tiny_bert.write(tmp_path / "b")
    other = tiny_bert.write(tmp_path / "c", tiny_bert.tensors(seed=8))
    resized = tiny_bert.write(tmp_path / "d", layer_norm_eps=1e-12)
    prints = [
        encoders.compute_fingerprint(_tiny(directory))
        for directory in (first, same, other, resized)
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert len(prints[0]) == 64


def test_a_fingerprint_sees_weights_that_are_replaced_in_place(tmp_path):
    config = _tiny(tiny_bert.write(tmp_path / "a"))
    before = encoders.compute_fingerprint(config)
    weights = tiny_bert.write(tmp_path / "a", tiny_bert.tensors(seed=8)) / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    assert encoders.compute_fingerprint(config) != before


def test_a_fingerprint_depends_on_what_the_features_depend_on(tmp_path):
    directory = tiny_bert.write(tmp_path / "a")
    base = encoders.compute_fingerprint(_tiny(directory))
    assert encoders.compute_fingerprint(_tiny(directory, pooling="cls")) != base
    assert encoders.compute_fingerprint(_tiny(directory, dropout=0.4, freeze=True)) == base


@pytest.mark.parametrize(
    "option",
    ["num_layers", "num_heads", "hidden_size", "intermediate_size", "vocab_size", "max_length"],
)
def test_the_fingerprint_of_scratch_holds_every_size(option):
    base = ModelConfig(encoder="scratch")
    changed = base.model_copy(update={option: getattr(base, option) * 2})
    assert encoders.compute_fingerprint(changed) != encoders.compute_fingerprint(base)


def test_scratch_has_the_sizes_that_were_asked_for(tmp_path):
    vocabulary = encoders.load_vocabulary(_tiny(tiny_bert.write(tmp_path / "a")))
    assert vocabulary is not None
    config = ModelConfig(
        encoder="scratch",
        hidden_size=12,
        num_heads=3,
        intermediate_size=20,
        num_layers=2,
        max_length=10,
    )
    encoder = encoders.build_encoder(config, vocabulary, 1)
    embeddings = (40 + 10) * 12
    block = 4 * (12 * 12 + 12) + (12 * 20 + 20) + (20 * 12 + 12) + 4 * 12
    assert (
        sum(int(np.prod(variable.shape)) for variable in encoder.trainable_variables)
        == embeddings + 2 * block
    )


def test_vocabularies_and_fingerprints_need_no_tensorflow():
    code = (
        "import sys; from components.config.schema import ModelConfig as M; from components.model import encoders as e; "
        "e.load_vocabulary(M()); e.compute_fingerprint(M()); e.compute_fingerprint(M(encoder='scratch')); "
        "print([n for n in ('tensorflow', 'torch') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
