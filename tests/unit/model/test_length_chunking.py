from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.model.classifier import build_classifier
from components.model.length_chunking import CHUNK_COUNT, MIN_TOKENS, length_chunked
from components.model.serving_model import ServingModel, load_scorer, save_serving_model
from components.model.tokenizer import WordPiece
from tests.support.releases.word_rule import WordRule
from tests.support.training.tiny_checkpoint import CLASSES, MODEL, VOCABULARY


class RecordingNetwork:
    """A network that returns the sum of a row's ids, and records the shapes of its inputs."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, ids: Any) -> Any:
        tf.numpy_function(
            lambda shape: self.shapes.append((int(shape[0]), int(shape[1]))), [tf.shape(ids)], []
        )
        return tf.reduce_sum(ids, axis=1, keepdims=True)


def rows_of(lengths: Sequence[int]) -> Any:
    """Row i holds `lengths[i]` times the number i + 1."""
    numbers = np.repeat(np.arange(1, len(lengths) + 1, dtype=np.int32), np.array(lengths, int))
    return tf.RaggedTensor.from_row_lengths(numbers, np.array(lengths, np.int64))


def run(
    lengths: Sequence[int], chunks: int = CHUNK_COUNT
) -> tuple[list[int], list[tuple[int, int]]]:
    network = RecordingNetwork()
    answers = tf.function(
        length_chunked(network, 0, chunks),
        input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)],
    )(rows_of(lengths))
    return answers.numpy()[:, 0].tolist(), sorted(network.shapes)


@pytest.mark.parametrize(
    ("lengths", "chunks", "shapes"),
    [
        pytest.param([5], CHUNK_COUNT, [(1, 5)], id="one-row"),
        pytest.param([5, 9, 2], CHUNK_COUNT, [(3, 9)], id="fewer-than-chunks"),
        pytest.param([5, 9, 2], 3, [(1, 2), (1, 5), (1, 9)], id="one-each"),
        pytest.param([3, 9, 8, 2], 2, [(2, 3), (2, 9)], id="longest-together"),
        pytest.param([3, 9, 8, 2, 2], 2, [(2, 9), (3, 3)], id="uneven"),
        pytest.param([4, 4, 4, 4], 2, [(2, 4), (2, 4)], id="equal-lengths"),
        pytest.param([7, 3, 5, 6], 1, [(4, 7)], id="one-chunk"),
        pytest.param([0, 0], 2, [(1, MIN_TOKENS), (1, MIN_TOKENS)], id="rows-without-ids"),
    ],
)
def test_rows_are_cut_by_length_and_answered_in_their_order(
    lengths: list[int], chunks: int, shapes: list[tuple[int, int]]
) -> None:
    answers, actual_shapes = run(lengths, chunks)
    assert answers == [length * (number + 1) for number, length in enumerate(lengths)]
    assert actual_shapes == shapes


@pytest.mark.parametrize("count", [CHUNK_COUNT, CHUNK_COUNT + 1, 64, 201])
def test_a_large_request_keeps_its_order(count: int) -> None:
    lengths = np.random.default_rng(count).integers(2, 40, count).tolist()
    answers, shapes = run(lengths)
    assert answers == [length * (number + 1) for number, length in enumerate(lengths)]
    assert len(shapes) == CHUNK_COUNT
    assert sum(rows for rows, _ in shapes) == count
    assert sum(rows * width for rows, width in shapes) < 0.7 * count * max(lengths)


def test_no_rows_are_one_empty_piece() -> None:
    assert run([]) == ([], [(0, MIN_TOKENS)])


@pytest.fixture(scope="module")
def model() -> Any:
    return build_classifier(MODEL, VOCABULARY, len(CLASSES), seed=3)


@pytest.mark.parametrize("count", [1, CHUNK_COUNT - 1, CHUNK_COUNT, 50])
def test_served_scores_are_those_of_the_whole_batch(model: Any, count: int, tmp_path: Path) -> None:
    random = np.random.default_rng(count)
    texts = [
        " ".join(f"w{word}" for word in random.integers(0, 60, length))
        for length in random.integers(0, 30, count)
    ]
    ids = WordPiece(VOCABULARY)(tf.constant(texts), MODEL.max_length).to_tensor()
    full_batch = tf.nn.softmax(model({"input_word_ids": ids})).numpy()
    save_serving_model(ServingModel(model, VOCABULARY, CLASSES, MODEL.max_length), tmp_path)
    served = (
        tf.saved_model.load(str(tmp_path))
        .signatures["serving_default"](text=tf.constant(texts))["scores"]
        .numpy()
    )
    np.testing.assert_allclose(served, full_batch, atol=1e-5)


def test_texts_beyond_max_length_are_cut_in_every_chunk(tmp_path: Path) -> None:
    save_serving_model(
        ServingModel(WordRule({"w1": 1, "w2": 2}), VOCABULARY, CLASSES, 20), tmp_path
    )
    texts = [f"w{number % 2 + 1} " + "w7 " * (number * 500) for number in range(3 * CHUNK_COUNT)]
    assert load_scorer(tmp_path)(texts).argmax(axis=1).tolist() == [
        number % 2 + 1 for number in range(3 * CHUNK_COUNT)
    ]


def test_the_network_stands_in_the_graph_once_and_no_loop_does(model: Any, tmp_path: Path) -> None:
    save_serving_model(ServingModel(model, VOCABULARY, CLASSES, MODEL.max_length), tmp_path)
    graph = (
        saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
        .meta_graphs[0]
        .graph_def
    )
    nodes = [node for function in graph.library.function for node in function.node_def]
    logits = [node for node in nodes if node.op == "MatMul" and "logits" in node.name]
    assert len(logits) == 1
    assert not [node.op for node in nodes if "While" in node.op]
