import itertools

import numpy as np
import pytest
import tensorflow as tf

from components.config.schema import ModelConfig
from components.model import encoders
from components.model.dropout import DropoutSeed, PerExampleDropout
from tests.support.training import tiny_bert

SLICES = {"two": (0, 16, 32), "three": (0, 11, 22, 32), "uneven": (0, 1, 31, 32)}


def _ones(rows=32, shape=(7, 9)):
    return tf.ones([rows, *shape])


def count_dropped(layer, state, x, step=0, first_row=0):
    with state.for_rows(step, first_row):
        return layer(x, training=True).numpy()


def _in_slices(call, x, cuts):
    return np.concatenate([call(x[a:b], a) for a, b in itertools.pairwise(cuts)])


@pytest.mark.parametrize("cuts", SLICES.values(), ids=SLICES.keys())
@pytest.mark.parametrize("shape", [(8,), (5,), (7, 9), (2, 4, 4)], ids=str)
def test_slices_of_a_batch_drop_the_same_units_as_the_whole(shape, cuts):
    state = DropoutSeed(3)
    layer, x = PerExampleDropout(0.3, state), _ones(shape=shape)
    full_batch = count_dropped(layer, state, x, step=5)
    np.testing.assert_array_equal(
        full_batch,
        _in_slices(lambda part, first: count_dropped(layer, state, part, 5, first), x, cuts),
    )


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_slices_agree_inside_a_compiled_function_of_any_length(jit):
    state = DropoutSeed(3)
    layer = PerExampleDropout(0.3, state)

    @tf.function(
        jit_compile=jit,
        input_signature=[
            tf.TensorSpec([None, None, 6]),
            tf.TensorSpec([], tf.int64),
            tf.TensorSpec([], tf.int32),
        ],
    )
    def drop(x, step, first_row):
        with state.for_rows(step, first_row):
            return layer(x, training=True)

    for length in (5, 8):
        x = _ones(12, (length, 6))
        full_batch = drop(x, 2, 0).numpy()
        parts = _in_slices(lambda part, first: drop(part, 2, first).numpy(), x, (0, 4, 12))
        np.testing.assert_array_equal(full_batch, parts)
        np.testing.assert_array_equal(full_batch, count_dropped(layer, state, x, step=2))


def test_masks_differ_by_seed_layer_step_and_row_and_come_back_the_same():
    state, other_seed = DropoutSeed(1), DropoutSeed(2)
    first, second, other = (
        PerExampleDropout(0.5, state),
        PerExampleDropout(0.5, state),
        PerExampleDropout(0.5, other_seed),
    )
    x = _ones(4, (64,))
    masks = [
        count_dropped(first, state, x),
        count_dropped(first, state, x, step=1),
        count_dropped(first, state, x, first_row=4),
        count_dropped(second, state, x),
        count_dropped(other, other_seed, x),
    ]
    rows = {row.tobytes() for mask in masks for row in mask}
    assert len(rows) == len(masks) * 4
    np.testing.assert_array_equal(masks[0], count_dropped(first, state, x))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_the_rate_is_kept_and_the_mean_is_too(rate):
    state = DropoutSeed(1)
    values = count_dropped(PerExampleDropout(rate, state), state, _ones(100, (10_000,)))
    retained_units = values > 0
    assert abs(retained_units.mean() - (1 - rate)) < 5 * np.sqrt(
        rate * (1 - rate) / retained_units.size
    )
    np.testing.assert_allclose(values[retained_units], 1 / (1 - rate), rtol=2e-4)
    assert abs(values.mean() - 1) < 0.01


def test_neighbouring_units_and_rows_are_independent():
    state = DropoutSeed(1)
    mask = (count_dropped(PerExampleDropout(0.5, state), state, _ones(1000, (1000,))) > 0) - 0.5
    for a, b in ((mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1]), (mask[:, 8:], mask[:, :-8])):
        assert abs((a * b).mean() * 4) < 0.005


def test_the_gradient_flows_through_kept_units_alone():
    state = DropoutSeed(1)
    layer, x = PerExampleDropout(0.25, state), tf.Variable(_ones(4, (16,)))
    with tf.GradientTape() as tape:
        with state.for_rows(0, 0):
            y = layer(x, training=True)
        total = tf.reduce_sum(y)
    np.testing.assert_array_equal(tape.gradient(total, x), y.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_types_keep_their_type(dtype):
    state = DropoutSeed(1)
    x = tf.cast(_ones(), dtype)
    with state.for_rows(0, 0):
        y = PerExampleDropout(0.5, state, dtype=dtype)(x, training=True)
    assert y.dtype == tf.as_dtype(dtype)
    assert set(np.unique(tf.cast(y, tf.float32))) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("rate", "training"),
    [(0.5, False), (0.0, True), (1e-6, True)],
    ids=["evaluation", "no_rate", "rate_below_resolution"],
)
def test_nothing_is_added_to_the_graph_when_nothing_is_dropped(rate, training):
    layer = PerExampleDropout(rate, DropoutSeed(1))
    function = tf.function(lambda x: layer(x, training=training)).get_concrete_function(
        tf.TensorSpec([None, 4])
    )
    assert {op.type for op in function.graph.get_operations()} <= {
        "Placeholder",
        "Identity",
        "NoOp",
    }


def test_training_without_a_position_is_an_error():
    layer = PerExampleDropout(0.5, DropoutSeed(1))
    with pytest.raises(RuntimeError, match=r"with dropout_seed\.for_rows\(step, first_row\)"):
        layer(_ones(), training=True)


def test_the_position_ends_with_its_block():
    state = DropoutSeed(1)
    with state.for_rows(1, 2):
        with state.for_rows(3, 4):
            assert [int(value) for value in state.position] == [3, 4]
        assert [int(value) for value in state.position] == [1, 2]
    with pytest.raises(RuntimeError):
        _ = state.position


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_an_impossible_rate_is_refused(value):
    with pytest.raises(ValueError, match="rate"):
        PerExampleDropout(value, DropoutSeed(1))


def _encoder(tmp_path, kind, state):
    if kind == "bert":
        config = ModelConfig(
            encoder=f"hf:{tiny_bert.write(tmp_path / 'tiny')}", max_length=16, dropout=0.2
        )
        vocabulary = encoders.load_vocabulary(config)
        layers = 2
    else:
        vocabulary = encoders.load_vocabulary(
            ModelConfig(encoder=f"hf:{tiny_bert.write(tmp_path / 'tiny')}")
        )
        config = ModelConfig(
            encoder="scratch",
            max_length=16,
            dropout=0.2,
            num_layers=3,
            num_heads=2,
            hidden_size=24,
            intermediate_size=16,
        )
        layers = 3
    assert vocabulary is not None
    return encoders.build_encoder(config, vocabulary, 1, state), layers


@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_no_ordinary_dropout_is_left_in_an_encoder(tmp_path, kind):
    encoder, layers = _encoder(tmp_path, kind, DropoutSeed(1))
    parts = list(encoder.submodules)
    assert not [part.name for part in parts if isinstance(part, tf.keras.layers.Dropout)]
    layers_found = [part for part in parts if isinstance(part, PerExampleDropout)]
    assert sorted(part.rate for part in layers_found) == [0.0] * layers + [0.2] * (1 + 3 * layers)
    assert len({part._layer for part in layers_found}) == len(layers_found)


@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_a_whole_encoder_gives_slices_what_it_gives_the_batch(tmp_path, kind):
    state = DropoutSeed(1)
    encoder, _ = _encoder(tmp_path, kind, state)
    ids = tf.constant(np.random.RandomState(0).randint(5, 40, (32, 8)), tf.int32)

    @tf.function(reduce_retracing=True)
    def forward(ids, first_row):
        with state.for_rows(7, first_row):
            inputs = {
                "input_word_ids": ids,
                "input_mask": tf.ones_like(ids),
                "input_type_ids": tf.zeros_like(ids),
            }
            return encoder(inputs, training=True)["sequence_output"]

    full_batch = forward(ids, tf.constant(0)).numpy()
    parts = _in_slices(
        lambda part, first: forward(part, tf.constant(first)).numpy(), ids, SLICES["three"]
    )
    np.testing.assert_allclose(full_batch, parts, atol=1e-5)
    inputs = {
        "input_word_ids": ids,
        "input_mask": tf.ones_like(ids),
        "input_type_ids": tf.zeros_like(ids),
    }
    assert np.abs(full_batch - encoder(inputs)["sequence_output"]).max() > 0.1
