"""The own forward pass against Model Garden's layers, which hold the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.config.schema import ModelConfig
from components.model.dropout import DropoutSeed
from components.model.encoders import bert, scratch_layer
from components.model.encoders.checkpoint import checkpoint_files
from components.model.fused_transformer import exact_gelu, layer_norm
from components.model.garden_adapter import read_block, read_layer_norm

LENGTHS = np.array([9, 3, 12, 1])
IDS = np.where(
    np.arange(12) < LENGTHS[:, None], np.random.default_rng(1).integers(1, 60, (4, 12)), 0
).astype(np.int32)
INPUTS = {
    "input_word_ids": tf.constant(IDS),
    "input_mask": tf.constant((IDS != 0).astype(np.int32)),
}
TYPES = {
    "input_type_ids": tf.constant(
        (np.arange(12) >= 5).astype(np.int32) * (IDS != 0).astype(np.int32)
    )
}
SIZES = checkpoint_files.BertSizes(
    vocabulary=60, hidden=16, layers=2, heads=4, inner=24, positions=12, types=2, norm_epsilon=1e-12
)


@pytest.fixture(autouse=True)
def policy(request: pytest.FixtureRequest) -> Iterator[None]:
    tf.keras.mixed_precision.set_global_policy(getattr(request, "param", "float32"))
    yield
    tf.keras.mixed_precision.set_global_policy("float32")


def encoder(
    state: DropoutSeed, dropout: float = 0.2, output_range: int | None = None
) -> bert.BertEncoder:
    network = bert.build_network(SIZES, dropout, state, output_range)
    for number, variable in enumerate(network.trainable_variables):
        variable.assign(np.random.default_rng(number).standard_normal(variable.shape) * 0.3)
    return bert.BertEncoder(network)


def outputs_and_gradients(
    call: Callable[..., Any],
    variables: list[tf.Variable],
    state: DropoutSeed,
    training: bool,
    types: Any,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    with tf.GradientTape() as tape, state.for_rows(3, 0):
        outputs = call({**INPUTS, **types}, training=training)
        sequence = tf.cast(outputs["sequence_output"], tf.float32)
        sequence *= tf.cast(INPUTS["input_mask"], tf.float32)[:, : sequence.shape[1], None]
        loss = tf.reduce_sum(tf.sin(sequence)) + tf.reduce_sum(
            tf.cast(outputs["pooled_output"], tf.float32) ** 2
        )
    gradients = tape.gradient(loss, variables)
    return (
        sequence.numpy(),
        outputs["pooled_output"].numpy(),
        [tf.convert_to_tensor(gradient).numpy() for gradient in gradients],
    )


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training with dropout"])
@pytest.mark.parametrize(
    "types", [{"input_type_ids": tf.zeros_like(IDS)}, TYPES], ids=["one type", "two types"]
)
@pytest.mark.parametrize(
    "output_range", [None, 1, 3], ids=["all tokens", "first token", "first three tokens"]
)
def test_outputs_and_gradients_are_model_garden_s(
    training: bool, types: Any, output_range: int | None
) -> None:
    state = DropoutSeed(5)
    fused = encoder(state, output_range=output_range)
    variables = fused.trainable_variables
    *actual, gradients = outputs_and_gradients(fused, variables, state, training, types)
    *expected, expected_gradients = outputs_and_gradients(
        fused.network, variables, state, training, types
    )
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    for variable, one, other in zip(variables, gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(
            one, other, atol=2e-4 * max(1.0, np.abs(other).max()), err_msg=variable.name
        )


def test_the_first_token_is_the_same_whether_the_others_are_given_or_not() -> None:
    all_tokens, first = (
        encoder(DropoutSeed(5), output_range=output_range)(INPUTS) for output_range in (None, 1)
    )
    assert first["sequence_output"].shape == (4, 1, 16)
    np.testing.assert_allclose(
        first["sequence_output"][:, 0], all_tokens["sequence_output"][:, 0], atol=1e-5
    )
    np.testing.assert_allclose(first["pooled_output"], all_tokens["pooled_output"], atol=1e-5)


@pytest.mark.parametrize("output_range", [None, 1], ids=["all tokens", "first token"])
def test_no_texts_give_no_vectors_and_gradients_of_zero(output_range: int | None) -> None:
    state = DropoutSeed(5)
    fused = encoder(state, output_range=output_range)
    none = {"input_word_ids": tf.zeros([0, 7], tf.int32), "input_mask": tf.zeros([0, 7], tf.int32)}
    with tf.GradientTape() as tape, state.for_rows(3, 0):
        outputs = fused(none, training=True)
        loss = tf.reduce_sum(outputs["sequence_output"]) + tf.reduce_sum(outputs["pooled_output"])
    assert outputs["sequence_output"].shape == (0, output_range or 7, 16)
    for variable, gradient in zip(
        fused.trainable_variables, tape.gradient(loss, fused.trainable_variables), strict=True
    ):
        np.testing.assert_array_equal(
            tf.convert_to_tensor(gradient), np.zeros(variable.shape), err_msg=variable.name
        )


def test_without_types_all_are_of_the_first() -> None:
    fused = encoder(DropoutSeed(5))
    np.testing.assert_array_equal(
        fused(INPUTS)["sequence_output"],
        fused({**INPUTS, "input_type_ids": tf.zeros_like(IDS)})["sequence_output"],
    )


@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_given_words_stand_for_the_table(kind: str) -> None:
    state = DropoutSeed(5)
    config = ModelConfig(
        encoder="scratch", hidden_size=16, num_heads=2, intermediate_size=24, max_length=12
    )
    fused: Any = (
        encoder(state)
        if kind == "bert"
        else scratch_layer.build_scratch_encoder(config, 60, 1, state)
    )
    plain, words = fused(INPUTS)["sequence_output"], tf.gather(fused.word_embeddings, IDS)
    np.testing.assert_array_equal(
        fused({**INPUTS, "token_embeddings": words})["sequence_output"], plain
    )
    assert (
        np.abs(
            fused({**INPUTS, "token_embeddings": tf.reverse(words, [2])})["sequence_output"] - plain
        ).max()
        > 0.01
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16"], indirect=True)
def test_under_a_mixed_policy_products_alone_are_narrow() -> None:
    state = DropoutSeed(5)
    narrow = encoder(state)
    tf.keras.mixed_precision.set_global_policy("float32")
    wide = encoder(state)
    types = {"input_type_ids": tf.zeros_like(IDS)}
    sequence, _, gradients = outputs_and_gradients(
        narrow, narrow.trainable_variables, state, False, types
    )
    expected, _, expected_gradients = outputs_and_gradients(
        wide, wide.trainable_variables, state, False, types
    )
    assert narrow(INPUTS)["sequence_output"].dtype == tf.float32
    assert all(variable.dtype == tf.float32 for variable in narrow.variables)
    assert 1e-4 < np.abs(sequence - expected).max() < 0.1
    assert {gradient.dtype.name for gradient in gradients} == {"float32"}
    norms = [
        np.sqrt(sum((gradient**2).sum() for gradient in each))
        for each in (gradients, expected_gradients)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


@pytest.mark.parametrize("name", ["gelu", "layer norm"])
def test_a_gradient_that_is_written_out_is_the_derived_one(name: str) -> None:
    x = tf.constant(np.random.default_rng(2).standard_normal((7, 5)) * 3, tf.float32)
    layer = tf.keras.layers.LayerNormalization(epsilon=1e-6)
    layer.build([None, 5])
    layer.gamma.assign(np.linspace(0.5, 2, 5))
    layer.beta.assign(np.linspace(-1, 1, 5))
    function, reference = {
        "gelu": (exact_gelu, lambda x: tf.nn.gelu(x, approximate=False)),
        "layer norm": (lambda x: layer_norm(read_layer_norm(layer), x), layer),
    }[name]
    results = []
    for call in (function, reference):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call(x)
            loss = tf.reduce_sum(tf.sin(y))
        results.append((y.numpy(), tape.gradient(loss, x).numpy()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


@pytest.mark.parametrize("output_range", [None, 1], ids=["all tokens", "first token"])
def test_joined_weights_are_those_of_the_moment_and_give_the_same_outputs(
    output_range: int | None,
) -> None:
    fused = encoder(DropoutSeed(5), output_range=output_range)
    before = fused(INPUTS)["sequence_output"]
    fused.fuse_weights_for_serving(tf.float32)
    np.testing.assert_array_equal(fused(INPUTS)["sequence_output"], before)
    for block in fused.network.transformer_layers:
        weights = read_block(block)
        for part in (weights.query, weights.key, weights.value):
            part.kernel.assign_add(tf.ones([16, 4, 4]))
    np.testing.assert_array_equal(fused(INPUTS)["sequence_output"], before)
