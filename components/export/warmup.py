"""Warm-up requests that TensorFlow Serving replays before a version takes traffic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components.config.data import SINGLE_INPUT
from components.model.length_chunking import CHUNK_COUNT
from components.model.serving_model import SIGNATURE_NAME

WARMUP_FILENAME = "assets.extra/tf_serving_warmup_requests"
WARMUP_WORD = "news"


def write_warmup_requests(
    directory: Path,
    name: str,
    count: int,
    max_words: int,
    inputs: Sequence[str] = SINGLE_INPUT,
) -> None:
    """Write `count` requests, from one word to `max_words` words; none is from a user.

    Each has one text, or one pair of equal texts; the last of several has many, which the graph
    computes on another path.
    """
    if count == 0:
        return
    path = directory / WARMUP_FILENAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(count):
            words = 1 + round(number * (max_words - 1) / max(1, count - 1))
            text = " ".join([WARMUP_WORD] * words)
            is_last_of_several = number == count - 1 > 0
            texts = [text] * (CHUNK_COUNT if is_last_of_several else 1)
            writer.write(_build_request(name, inputs, texts).SerializeToString())


def _build_request(
    name: str, inputs: Sequence[str], texts: list[str]
) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = SIGNATURE_NAME
    for input_name in inputs:
        request.inputs[input_name].CopyFrom(tf.make_tensor_proto(texts, tf.string))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
