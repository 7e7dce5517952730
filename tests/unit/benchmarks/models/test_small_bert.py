"""kubert and Model Garden's encoder both load every weight of the small BERT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmarks.models import garden_bert, small_bert
from components.config.schema import ModelConfig
from components.model import encoders
from components.model.encoders.bert import BertEncoder


def test_every_side_loads_the_same_weights(tmp_path: Path):
    directory = small_bert.write_untrained(tmp_path / "bert")
    from official.nlp.modeling import networks

    encoder = networks.BertEncoder(**garden_bert.read_sizes(directory))
    garden_bert.load_weights(encoder, directory)
    tensors = load_file(directory / "model.safetensors")
    assert {garden_bert.hugging_face_name(variable.name) for variable in encoder.variables} == set(
        tensors
    )
    ids = np.array([[101, 7592, 2088, 102]], np.int32)
    inputs = {
        "input_word_ids": ids,
        "input_mask": np.ones_like(ids),
        "input_type_ids": np.zeros_like(ids),
    }
    theirs, _ = encoder(
        [inputs[name] for name in ("input_word_ids", "input_mask", "input_type_ids")]
    )
    config = ModelConfig(encoder=f"hf:{directory}", pooling="mean")
    vocabulary = encoders.load_vocabulary(config)
    assert vocabulary is not None
    ours = encoders.build_encoder(config, vocabulary, seed=1)(inputs, training=False)[
        "sequence_output"
    ]
    np.testing.assert_allclose(theirs, ours, atol=2e-3)  # theirs approximates GELU


def test_a_network_is_written_as_it_is_read(tmp_path: Path):
    config = ModelConfig(encoder=f"hf:{small_bert.write_untrained(tmp_path / 'before')}")
    vocabulary = encoders.load_vocabulary(config)
    assert vocabulary is not None
    encoder = encoders.build_encoder(config, vocabulary, seed=1)
    assert isinstance(encoder, BertEncoder)
    random = np.random.default_rng(2)
    for variable in encoder.variables:
        variable.assign(random.standard_normal(variable.shape))
    after = ModelConfig(
        encoder=f"hf:{small_bert.write_trained(encoder.network, tmp_path / 'after')}"
    )
    for one, other in zip(
        encoder.variables, encoders.build_encoder(after, vocabulary, seed=3).variables, strict=True
    ):
        np.testing.assert_array_equal(one, other, err_msg=one.name)
