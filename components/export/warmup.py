"""Requests that TensorFlow Serving replays before a version takes traffic, so that no person waits for the first ones."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components.model.length_chunking import CHUNK_COUNT
from components.model.serving_model import INPUT_NAME, SIGNATURE_NAME

WARMUP_FILENAME = "assets.extra/tf_serving_warmup_requests"
WARMUP_WORD = "news"


def write_warmup_requests(directory: Path, name: str, count: int, max_length: int) -> None:
    """Write `count` requests, from one word to as many as the model reads; none of them is a user's.

    They are of one text each; the last of several is of many, which the model computes on a path of its own.
    """
    if count == 0:
        return
    path = directory / WARMUP_FILENAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(count):
            words = 1 + round(number * (max_length - 1) / max(1, count - 1))
            texts = CHUNK_COUNT if number == count - 1 > 0 else 1
            writer.write(
                _request(name, [" ".join([WARMUP_WORD] * words)] * texts).SerializeToString()
            )


def _request(name: str, texts: list[str]) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = SIGNATURE_NAME
    request.inputs[INPUT_NAME].CopyFrom(tf.make_tensor_proto(texts, tf.string))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
