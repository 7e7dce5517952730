"""The JSON of TensorFlow Serving's predict call: request body to texts, outputs to response body.

The format is that of its REST API (tensorflow.org/tfx/serving/api_rest) for a model with one input,
a vector of strings, or two of them for pairs of texts: rows (`instances`, answered as
`predictions`) or columns (`inputs`, answered as `outputs`). No error message repeats a user's text.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.errors import KubertError

MAX_ECHOED_CHARACTERS = 100
JSON_TYPES = {
    dict: "object",
    list: "list",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}


class BadRequestError(KubertError):
    """The request cannot be answered as it is: HTTP 400."""


@dataclass(frozen=True)
class PredictRequest:
    """The rows, each with the bytes of one text per input, and the format of the response."""

    rows: list[tuple[bytes, ...]]
    form: Literal["row", "columnar"]


def parse_predict_request(body: bytes, signature: str, names: Sequence[str]) -> PredictRequest:
    """The texts for the inputs of the one `signature`; BadRequestError for anything else."""
    document = _parse_document(body)
    requested = document.get("signature_name", signature)
    if not isinstance(requested, str):
        raise BadRequestError("'signature_name' key must be a string value")
    if requested not in ("", signature):
        raise BadRequestError(
            f'Serving signature name: "{requested[:MAX_ECHOED_CHARACTERS]}" '
            "not found in signature def"
        )
    if "instances" in document and "inputs" in document:
        raise BadRequestError(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if "instances" in document:
        return PredictRequest(_parse_rows(document["instances"], names), "row")
    if "inputs" in document:
        return PredictRequest(_parse_columns(document["inputs"], names), "columnar")
    raise BadRequestError("Missing 'inputs' or 'instances' key")


def build_predict_response(
    outputs: Mapping[str, Sequence[Any]], form: Literal["row", "columnar"]
) -> dict[str, Any]:
    """The response body: `outputs` maps each output's name to its values, one per text."""
    if form == "columnar":
        return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else dict(outputs)}
    if len(outputs) == 1:
        return {"predictions": list(next(iter(outputs.values())))}
    return {
        "predictions": [
            dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)
        ]
    }


def _parse_document(body: bytes) -> dict[str, Any]:
    if not body:
        raise BadRequestError("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequestError(f"JSON Parse error: Invalid UTF-8 at offset: {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadRequestError(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except (ValueError, RecursionError) as error:
        is_nested = isinstance(error, RecursionError)
        problem = "nested too deeply" if is_nested else "a number is too long"
        raise BadRequestError(f"JSON Parse error: {problem}") from None
    if not isinstance(document, dict):
        raise BadRequestError(f"JSON Value is a {JSON_TYPES[type(document)]}, not an object")
    return document


def _parse_rows(instances: Any, names: Sequence[str]) -> list[tuple[bytes, ...]]:
    if not isinstance(instances, list):
        raise BadRequestError("Expecting 'instances' to be a list")
    if not instances:
        raise BadRequestError("No values in 'instances' array")
    is_named = len(names) > 1 or _is_object_of_inputs(instances[0])
    return [_parse_row(number, item, is_named, names) for number, item in enumerate(instances)]


def _parse_row(number: int, item: Any, is_named: bool, names: Sequence[str]) -> tuple[bytes, ...]:
    where = f"Failed to process element: {number} of 'instances' list. Error: "
    listed = ",".join(names)
    if _is_object_of_inputs(item) != is_named:
        if len(names) > 1:
            raise BadRequestError(f"{where}a pair is an object with the keys: {listed}")
        raise BadRequestError(
            f"{where}'instances' are all plain values, or all objects with the key {names[0]!r}"
        )
    if is_named and set(item) != set(names):
        raise BadRequestError(f"{where}JSON object: keys must be equal to: {listed}")
    return tuple(_parse_text(item[name] if is_named else item, where) for name in names)


def _parse_columns(inputs: Any, names: Sequence[str]) -> list[tuple[bytes, ...]]:
    if len(names) > 1 and not _is_object_of_inputs(inputs):
        raise BadRequestError(
            f"'inputs' must be an object with a list of strings for each of: {','.join(names)}"
        )
    if not _is_object_of_inputs(inputs):
        return [(text,) for text in _parse_column(inputs, names[0])]
    for name in names:
        if name not in inputs:
            raise BadRequestError(f"Missing named input: {name} in 'inputs' object.")
    if len(inputs) > len(names):
        lead = "the only one is" if len(names) == 1 else "they are"
        raise BadRequestError(
            f"'inputs' object has keys that are no inputs; {lead}: {','.join(names)}"
        )
    columns = [_parse_column(inputs[name], name) for name in names]
    if len({*map(len, columns)}) > 1:
        counts = ", ".join(
            f"{name} {len(texts)}" for name, texts in zip(names, columns, strict=True)
        )
        raise BadRequestError(f"inputs of one request have equally many texts, found: {counts}")
    return [*zip(*columns, strict=True)]


def _parse_column(inputs: Any, name: str) -> list[bytes]:
    if not isinstance(inputs, list):
        raise BadRequestError(
            f"input {name!r} must be a list of strings, found a {JSON_TYPES[type(inputs)]}"
        )
    return [
        _parse_text(item, f"Failed to process element: {number} of 'inputs' list. Error: ")
        for number, item in enumerate(inputs)
    ]


def _parse_text(value: Any, where: str) -> bytes:
    if isinstance(value, dict) and set(value) == {"b64"}:
        encoded = value["b64"]
        if not isinstance(encoded, str):
            raise BadRequestError(f"{where}the value of 'b64' must be a string")
        try:
            return base64.b64decode(
                encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4), validate=True
            )
        except (binascii.Error, ValueError):
            raise BadRequestError(f"{where}Unable to base64 decode") from None
    if not isinstance(value, str):
        raise BadRequestError(
            f"{where}JSON Value of Type: {JSON_TYPES[type(value)]} is not of expected type: string"
        )
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRequestError(f"{where}The surrogate pair in string is invalid") from None


def _is_object_of_inputs(value: Any) -> bool:
    """Whether it has inputs by name, which base64 bytes ({"b64": ...}) have not."""
    return isinstance(value, dict) and set(value) != {"b64"}
