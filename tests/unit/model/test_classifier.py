import itertools

import numpy as np
import pytest
import tensorflow as tf

from components.config.schema import ModelConfig
from components.model import encoders
from components.model.classifier import build_classifier
from components.model.fused_transformer import mean_pool
from tests.support.training import tiny_bert

IDS = np.array(
    [[2, 35, 36, 37, 3, 0, 0, 0], [2, 5, 31, 32, 9, 30, 22, 3], [2, 3, 0, 0, 0, 0, 0, 0]], np.int32
)
SCRATCH = {
    "encoder": "scratch",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_heads": 2,
    "max_length": 16,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_bert.write(tmp_path_factory.mktemp("bert") / "tiny")


@pytest.fixture
def build(checkpoint):
    def build(kind="bert", classes=4, seed=1, **options):
        base = {"encoder": f"hf:{checkpoint}", "max_length": 16} if kind == "bert" else SCRATCH
        vocabulary = encoders.load_vocabulary(ModelConfig(encoder=f"hf:{checkpoint}"))
        assert vocabulary is not None
        return build_classifier(
            ModelConfig.model_validate({**base, **options}), vocabulary, classes, seed
        )

    return build


@pytest.fixture
def policy():
    yield tf.keras.mixed_precision.set_global_policy
    tf.keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooled"])
@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_padding_changes_nothing(build, kind, pooling):
    classifier = build(kind, pooling=pooling)
    padded = classifier({"input_word_ids": tf.constant(IDS)})
    for row, length in zip(range(3), (5, 8, 2), strict=True):
        alone = classifier({"input_word_ids": tf.constant(IDS[row : row + 1, :length])})
        np.testing.assert_allclose(padded[row : row + 1], alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_a_token_changes_the_logits_wherever_it_stands(build, kind):
    classifier = build(kind)
    before = classifier({"input_word_ids": tf.constant(IDS)}).numpy()
    for row, column in ((0, 1), (0, 4), (1, 7)):
        changed = IDS.copy()
        changed[row, column] = 20
        after = classifier({"input_word_ids": tf.constant(changed)}).numpy()
        assert np.abs(after[row] - before[row]).max() > 1e-6
        np.testing.assert_allclose(np.delete(after, row, 0), np.delete(before, row, 0), atol=1e-6)


def test_each_pooling_takes_what_its_name_says(build):
    for pooling in ("mean", "cls", "pooled"):
        classifier = build(pooling=pooling)
        mask = (IDS > 0).astype(np.int32)
        inputs = {
            "input_word_ids": tf.constant(IDS),
            "input_mask": tf.constant(mask),
            "input_type_ids": tf.zeros_like(IDS),
        }
        outputs = classifier.encoder(inputs)
        hidden = outputs["sequence_output"].numpy()
        expected = {
            "mean": np.stack([row[: m.sum()].mean(0) for row, m in zip(hidden, mask, strict=True)]),
            "cls": hidden[:, 0],
            "pooled": outputs["pooled_output"].numpy(),
        }
        np.testing.assert_allclose(classifier.features(inputs), expected[pooling], atol=1e-5)


def test_the_mean_of_no_tokens_is_zero():
    np.testing.assert_array_equal(
        mean_pool(tf.ones([1, 4, 3]), tf.zeros([1, 4], tf.int32)), np.zeros([1, 3])
    )


def test_features_then_head_is_the_whole(build):
    classifier = build()
    inputs = {"input_word_ids": tf.constant(IDS)}
    np.testing.assert_array_equal(classifier(inputs), classifier.head(classifier.features(inputs)))


def test_the_head_trains_on_cached_features_of_a_frozen_encoder(build):
    classifier = build(freeze=True, dropout=0.5)
    inputs = {"input_word_ids": tf.constant(IDS)}
    features = classifier.features(inputs)
    with classifier.dropout_seed.for_rows(1, 0):
        np.testing.assert_array_equal(classifier.features(inputs, training=True), features)
        np.testing.assert_array_equal(
            classifier(inputs, training=True), classifier.head(features, training=True)
        )
    assert [id(variable) for variable in classifier.trainable_variables] == [
        id(classifier.logits.kernel),
        id(classifier.logits.bias),
    ]


@pytest.mark.parametrize(
    "options", [{}, {"pooling": "mean"}, {"pooling": "cls"}], ids=["pooled", "mean", "cls"]
)
@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_every_trainable_variable_gets_a_gradient(build, kind, options):
    classifier = build(kind, **options)
    with tf.GradientTape() as tape, classifier.dropout_seed.for_rows(0, 0):
        loss = tf.reduce_sum(
            tf.square(classifier({"input_word_ids": tf.constant(IDS)}, training=True))
        )
    gradients = tape.gradient(loss, classifier.trainable_variables)
    assert [
        v.name for v, g in zip(classifier.trainable_variables, gradients, strict=True) if g is None
    ] == []


@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_initial_weights_depend_on_the_seed_alone(build, kind):
    first, again, other = (build(kind, seed=seed) for seed in (5, 5, 6))
    for a, b in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(first.logits.kernel - other.logits.kernel).max() > 0
    assert 0.01 < np.std(build(kind, classes=200).logits.kernel) < 0.02


def test_no_two_matrices_of_a_scratch_encoder_start_alike(build):
    encoder = build("scratch", hidden_size=24, intermediate_size=24, num_layers=2).encoder
    kernels = [
        v.numpy()
        for v in encoder.trainable_variables
        if "kernel" in v.name or "embeddings" in v.name
    ]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 14


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_mixed_precision_keeps_weights_and_logits_in_float32(build, policy, kind, name):
    exact = build(kind, dropout=0.1)({"input_word_ids": tf.constant(IDS)})
    policy(name)
    classifier = build(kind, dropout=0.1)
    logits = classifier({"input_word_ids": tf.constant(IDS)})
    assert {logits.dtype, *(v.dtype for v in classifier.variables)} == {tf.float32}
    assert classifier.features({"input_word_ids": tf.constant(IDS)}).dtype == tf.float32
    np.testing.assert_allclose(logits, exact, atol=0.03)
    with tf.GradientTape() as tape, classifier.dropout_seed.for_rows(0, 0):
        loss = tf.reduce_sum(
            tf.square(classifier({"input_word_ids": tf.constant(IDS)}, training=True))
        )
    gradients = tape.gradient(loss, classifier.trainable_variables)
    assert all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_forward_and_backward_compile_with_xla(build, policy, kind, name):
    policy(name)
    classifier = build(kind, dropout=0.1)

    def step(ids, first_row):
        with tf.GradientTape() as tape, classifier.dropout_seed.for_rows(3, first_row):
            loss = tf.reduce_sum(tf.square(classifier({"input_word_ids": ids}, training=True)))
        return loss, tape.gradient(loss, classifier.trainable_variables)[-2]

    plain, compiled = tf.function(step), tf.function(step, jit_compile=True)
    for expected, found in zip(
        plain(tf.constant(IDS), 0), compiled(tf.constant(IDS), 0), strict=True
    ):
        np.testing.assert_allclose(
            found, expected, rtol=1e-3, atol=0.02 if name == "mixed_bfloat16" else 1e-3
        )


@pytest.mark.parametrize("kind", ["bert", "scratch"])
def test_the_gradient_of_a_batch_is_the_sum_over_any_slices(build, kind):
    classifier = build(kind, dropout=0.3)
    ids = tf.constant(np.random.RandomState(1).randint(5, 40, (32, 8)), tf.int32)

    @tf.function(reduce_retracing=True)
    def step(ids, first_row):
        with tf.GradientTape() as tape, classifier.dropout_seed.for_rows(9, first_row):
            loss = tf.reduce_sum(tf.square(classifier({"input_word_ids": ids}, training=True)))
        return loss, [
            tf.convert_to_tensor(gradient)
            for gradient in tape.gradient(loss, classifier.trainable_variables)
        ]

    loss, gradients = step(ids, tf.constant(0))
    parts = [step(ids[a:b], tf.constant(a)) for a, b in itertools.pairwise((0, 11, 22, 32))]
    np.testing.assert_allclose(loss, sum(part[0] for part in parts), rtol=1e-5)
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(
            gradient, sum(part[1][i] for part in parts), rtol=1e-3, atol=1e-4
        )


def test_the_graph_does_not_compute_the_pooler_it_does_not_use(build):
    def operations(pooling):
        classifier = build(pooling=pooling)
        spec = tf.TensorSpec([None, None], tf.int32)
        graph = (
            tf.function(lambda ids: classifier({"input_word_ids": ids}))
            .get_concrete_function(spec)
            .graph
        )
        pending, visited = [graph.outputs[0].op], set()
        while pending:
            operation = pending.pop()
            if operation.name not in visited:
                visited.add(operation.name)
                pending += [tensor.op for tensor in operation.inputs]
        return visited

    assert any("pooler" in name for name in operations("pooled"))
    assert not any("pooler" in name for name in operations("mean"))
