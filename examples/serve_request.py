"""Asks a served model for the labels of texts, or for their numbers, over REST or over gRPC.

Works with TensorFlow Serving (both protocols) and with `kubert serve` (REST). Prints one line per
text, in the same format for both protocols: label, its score, text. Of a model of several labels
these and their scores, separated by commas, or -; of a model of numbers the number. Which of these
it is follows from the outputs of the model's signature. The inputs of a model of pairs are named:

    kubert serve .kubert/models/news &
    python examples/serve_request.py "Shares of the chip maker fell after it cut its forecast"
    python examples/serve_request.py --protocol grpc --host serving.example "..." "..."
    python examples/serve_request.py --model pairs --inputs question,answer "Where?" "In Porto."

REST needs nothing but Python's standard library; gRPC needs grpcio and tensorflow-serving-api. The
connection is not encrypted: use it inside the cluster, or through `kubectl port-forward`.

Exit codes: 0 answered, 2 an error in the command line or an unknown model, 1 any other failure.
"""

from __future__ import annotations

import argparse
import http.client
import json
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

PORTS = {"rest": 8501, "grpc": 8500}
"""TensorFlow Serving's default ports."""
OTHER_PROTOCOL = {"rest": "grpc", "grpc": "rest"}
SIGNATURE_NAME = "serving_default"
INPUT_NAME = "text"
NUMBER_OUTPUT = "value"
"""The one output of a model of numbers; REST answers a single output without its name."""
NO_LABEL = "-"
"""Stands for the labels, and for their scores, of a text without any."""
EXIT_FAILURE, EXIT_USAGE = 1, 2


class RequestError(Exception):
    """The request has no answer; the message says why, and `exit_code` how the program ends."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Model:
    """The address of a model; `version` None: the newest one. `timeout` is in seconds.

    `inputs` names its inputs: one, or two for pairs of texts.
    """

    host: str
    port: int
    name: str
    version: int | None
    timeout: float
    inputs: tuple[str, ...] = (INPUT_NAME,)


Texts = tuple[str, ...]
"""What a model reads at once: a text for each of its inputs."""
Answer = dict[str, Any]
"""The outputs of the signature for one row, by name; `labels` has those that are predicted."""


@dataclass(frozen=True)
class Signature:
    """The version that is served, and the data types of its inputs and outputs by name."""

    version: int
    inputs: dict[str, str]
    outputs: dict[str, str]


class RestClient:
    """TensorFlow Serving's REST API."""

    def __init__(self, model: Model) -> None:
        self._model = model
        version = "" if model.version is None else f"/versions/{model.version}"
        self._path = f"/v1/models/{model.name}{version}"

    def predict(self, rows: Sequence[Texts]) -> list[Answer]:
        """Send one predict call."""
        names = self._model.inputs
        instances = [
            dict(zip(names, row, strict=True)) if len(names) > 1 else row[0] for row in rows
        ]
        reply = self._request("POST", f"{self._path}:predict", {"instances": instances})
        return [
            read_answer(each if isinstance(each, dict) else {NUMBER_OUTPUT: each})
            for each in reply["predictions"]
        ]

    def describe(self) -> Signature:
        """Send one metadata call."""
        reply = self._request("GET", f"{self._path}/metadata")
        signatures = reply["metadata"]["signature_def"]["signature_def"]
        return _read_signature(reply["model_spec"]["version"], signatures)

    def _request(self, method: str, path: str, value: Any = None) -> dict[str, Any]:
        model = self._model
        body = None if value is None else json.dumps(value).encode()
        connection = http.client.HTTPConnection(model.host, model.port, timeout=model.timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            status, content = response.status, response.read()
        except TimeoutError:
            raise _timeout_error(model) from None
        except OSError as error:
            raise RequestError(_describe_address(model, error.strerror or str(error))) from None
        except http.client.HTTPException:
            raise _protocol_error(model, "rest") from None
        finally:
            connection.close()
        reply = _parse_json(content, model)
        if status == http.HTTPStatus.NOT_FOUND:
            raise _unknown_model_error(model, str(reply.get("error")))
        if status != http.HTTPStatus.OK:
            raise RequestError(str(reply.get("error", f"HTTP status {status}")))
        return reply


class GrpcClient:
    """TensorFlow Serving's PredictionService. Its packages take seconds to import."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, rows: Sequence[Texts]) -> list[Answer]:
        """Send one Predict call."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        for number, name in enumerate(self._model.inputs):
            encoded = [row[number].encode() for row in rows]
            request.inputs[name].CopyFrom(tf.make_tensor_proto(encoded, tf.string))
        outputs = dict(sorted(self._call("Predict", request).outputs.items()))
        columns = [tf.make_ndarray(tensor).tolist() for tensor in outputs.values()]
        return [
            read_answer(dict(zip(outputs, values, strict=True)))
            for values in zip(*columns, strict=True)
        ]

    def describe(self) -> Signature:
        """Send one GetModelMetadata call."""
        from google.protobuf import json_format
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        response = self._call("GetModelMetadata", request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        as_json = json_format.MessageToDict(signatures, preserving_proto_field_name=True)
        return _read_signature(response.model_spec.version.value, as_json["signature_def"])

    def _call(self, name: str, request: Any) -> Any:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        model = self._model
        request.model_spec.name = model.name
        if model.version is not None:
            request.model_spec.version.value = model.version
        with grpc.insecure_channel(f"{model.host}:{model.port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                return getattr(stub, name)(request, timeout=model.timeout)
            except grpc.RpcError as error:
                raise _translate_error(model, error.code().name, error.details()) from None


def read_answer(outputs: dict[str, Any]) -> Answer:
    """The outputs for one row; strings may be bytes, as gRPC has them."""
    if NUMBER_OUTPUT in outputs:
        return {NUMBER_OUTPUT: _shorten_float32(outputs[NUMBER_OUTPUT])}
    if "labels" in outputs:
        return outputs | {"labels": [_decode(name) for name in outputs["labels"] if name]}
    if "label" in outputs:
        return outputs | {"label": _decode(outputs["label"])}
    raise RequestError(
        f"the model has the outputs {', '.join(sorted(outputs))}, which no release of kubert has; "
        "set --model"
    )


def list_columns(answer: Answer) -> list[str]:
    """What is predicted, as the columns before the text."""
    if NUMBER_OUTPUT in answer:
        return [str(answer[NUMBER_OUTPUT])]
    scores = answer["scores"]
    if "labels" in answer:
        chosen = [scores[index] for index, is_in in enumerate(answer["is_predicted"]) if is_in]
        shown = ",".join(f"{score:.4f}" for score in chosen)
        return [",".join(answer["labels"]) or NO_LABEL, shown or NO_LABEL]
    mark = "" if answer.get("is_confident", True) else "?"
    return [f"{answer['label']}{mark}", f"{scores[answer['label_index']]:.4f}"]


def _decode(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _shorten_float32(value: float) -> float:
    """The number with the fewest digits that is the same one in float32."""
    packed = struct.pack("f", value)
    numbers = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((each for each in numbers if struct.pack("f", each) == packed), value)


def _read_signature(version: Any, signatures: dict[str, Any]) -> Signature:
    """Read the JSON form of a SignatureDef, which is the same for both protocols."""
    signature = signatures[SIGNATURE_NAME]
    inputs, outputs = (
        {name: tensor["dtype"] for name, tensor in sorted(signature[side].items())}
        for side in ("inputs", "outputs")
    )
    return Signature(int(version), inputs, outputs)


def _translate_error(model: Model, code: str, details: str) -> RequestError:
    if code == "NOT_FOUND":
        return _unknown_model_error(model, details)
    if code == "DEADLINE_EXCEEDED":
        return _timeout_error(model)
    if code != "UNAVAILABLE":
        return RequestError(f"{code}: {details}")
    if "HTTP/2" in details:
        return _protocol_error(model, "grpc")
    reason = details.rstrip("]").rpartition(": ")[2] or details
    return RequestError(_describe_address(model, reason))


def _describe_address(model: Model, problem: str) -> str:
    return f"{model.host}:{model.port}: {problem}; is the server running, and is this its port?"


def _timeout_error(model: Model) -> RequestError:
    return RequestError(
        f"{model.host}:{model.port}: no answer within {model.timeout:g} s; "
        "try again, or set a longer --timeout"
    )


def _protocol_error(model: Model, protocol: str) -> RequestError:
    other = OTHER_PROTOCOL[protocol]
    return RequestError(
        f"{model.host}:{model.port}: the server does not speak {protocol}; if this is its {other} "
        f"port, use --protocol {other} (default ports: rest {PORTS['rest']}, grpc {PORTS['grpc']})"
    )


def _unknown_model_error(model: Model, message: str) -> RequestError:
    version = "" if model.version is None else f" version {model.version}"
    return RequestError(
        f"{model.host}:{model.port} serves no model {model.name!r}{version} ({message}); "
        "set --model and --version",
        EXIT_USAGE,
    )


def _parse_json(content: bytes, model: Model) -> dict[str, Any]:
    try:
        reply = json.loads(content)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise _protocol_error(model, "rest")
    return reply


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; argparse ends the program with 2 on an error."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument(
        "texts",
        nargs="*",
        help="texts, of pairs two for each; none: one per line of standard input, or one pair with "
        "a tab in between",
    )
    parser.add_argument("--protocol", choices=list(PORTS), default="rest")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, help="default: 8501 for rest, 8500 for grpc")
    parser.add_argument("--model", default="news", help="name of the model; default: %(default)s")
    parser.add_argument("--version", type=int, help="version of the model; default: the newest")
    parser.add_argument(
        "--inputs",
        default=INPUT_NAME,
        help="names of the model's inputs, of a model of pairs two with a comma in between, as "
        "--describe prints them; default: %(default)s",
    )
    parser.add_argument(
        "--timeout", type=float, default=10.0, help="seconds to wait; default: %(default)s"
    )
    parser.add_argument(
        "--describe", action="store_true", help="print the served version and its signature"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line")
    parsed = parser.parse_args(arguments)
    if parsed.timeout <= 0:
        parser.error("--timeout: must be greater than 0")
    parsed.inputs = tuple(name.strip() for name in parsed.inputs.split(","))
    names = parsed.inputs
    if len(names) > 2 or not all(names) or len({*names}) < len(names):
        parser.error("--inputs: must be one name, or two with a comma in between")
    return parsed


def run(options: argparse.Namespace) -> None:
    """Send the request that the options describe, and print the answers."""
    port = PORTS[options.protocol] if options.port is None else options.port
    model = Model(
        options.host, port, options.model, options.version, options.timeout, options.inputs
    )
    client = RestClient(model) if options.protocol == "rest" else GrpcClient(model)
    if options.describe:
        _print_signature(model.name, client.describe(), as_json=options.json)
        return
    rows = (
        group_texts(options.texts, model.inputs)
        if options.texts
        else [split_line(line, number, model.inputs) for number, line in enumerate(sys.stdin, 1)]
    )
    for row, answer in zip(rows, client.predict(rows) if rows else [], strict=True):
        if options.json:
            text = row[0] if len(row) == 1 else dict(zip(model.inputs, row, strict=True))
            print(json.dumps({"text": text, **answer}, ensure_ascii=False))
        else:
            print("\t".join([*list_columns(answer), *row]))


def group_texts(texts: Sequence[str], inputs: Sequence[str]) -> list[Texts]:
    """The arguments, of pairs two by two; RequestError for one that is left over."""
    count = len(inputs)
    if len(texts) % count:
        names = " and ".join(inputs)
        raise RequestError(
            f"{len(texts)} texts are no pairs of {names}; give both of each", EXIT_USAGE
        )
    return [tuple(texts[start : start + count]) for start in range(0, len(texts), count)]


def split_line(line: str, number: int, inputs: Sequence[str]) -> Texts:
    """The text of a line, or those of a pair; RequestError for a line that is no pair."""
    text = line.rstrip("\n")
    row = tuple(text.split("\t")) if len(inputs) > 1 else (text,)
    if len(row) != len(inputs):
        raise RequestError(
            f"standard input, line {number}: no pair of {' and '.join(inputs)}; write both with a "
            "tab in between",
            EXIT_USAGE,
        )
    return row


def _print_signature(name: str, signature: Signature, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(signature)))
        return
    print(f"model\t{name}\tversion {signature.version}")
    for kind, tensors in {"input": signature.inputs, "output": signature.outputs}.items():
        for tensor, dtype in tensors.items():
            print(f"{kind}\t{tensor}\t{dtype}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    try:
        run(parse_arguments(arguments))
    except RequestError as error:
        print(f"serve_request: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
