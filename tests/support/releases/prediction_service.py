"""TensorFlow Serving's PredictionService over gRPC, with a real SavedModel in this process.

It stands in for TensorFlow Serving's server, which is a program of its own. Errors have the codes
and texts that it documents for unknown models, versions and inputs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.model.serving_model import SIGNATURE_NAME


@dataclass
class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """One version of one model; `delay_seconds` makes every answer late."""

    directory: Path
    name: str
    delay_seconds: float = 0.0
    requests: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._model = tf.saved_model.load(str(self.directory))
        self._version = int(self.directory.name)

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run the model's signature on the tensor of the request."""
        self.requests.append(request)
        time.sleep(self.delay_seconds)
        self._check_model(request.model_spec, context)
        signature = self._model.signatures[SIGNATURE_NAME]
        if set(request.inputs) != set(signature.structured_input_signature[1]):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "input keys do not match the signature")
        texts = {
            name: tf.constant(tf.make_ndarray(value), tf.string)
            for name, value in request.inputs.items()
        }
        outputs = signature(**texts)
        response = predict_pb2.PredictResponse()
        self._write_model_spec(response.model_spec)
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Return the signatures as they are in the SavedModel's file."""
        self._check_model(request.model_spec, context)
        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((self.directory / "saved_model.pb").read_bytes())
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in saved.meta_graphs[0].signature_def.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        self._write_model_spec(response.model_spec)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _check_model(self, spec: Any, context: grpc.ServicerContext) -> None:
        asked = spec.version.value if spec.HasField("version") else None
        if spec.name != self.name or asked not in (None, self._version):
            kind = f"Latest({spec.name})" if asked is None else f"Specific({spec.name}, {asked})"
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {kind}")

    def _write_model_spec(self, spec: Any) -> None:
        spec.name, spec.signature_name = self.name, SIGNATURE_NAME
        spec.version.value = self._version


@contextmanager
def run_prediction_service(service: PredictionService) -> Iterator[int]:
    """Serve on a free port of the loopback interface while the block runs; the port."""
    server = grpc.server(ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port: int = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=None).wait()
