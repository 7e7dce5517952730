from __future__ import annotations

import json
from typing import Any

import pytest

from components.serving.rest_protocol import (
    BadRequestError,
    build_predict_response,
    parse_predict_request,
)


def read(value: Any) -> tuple[list[bytes], str]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    found = parse_predict_request(body, "serving_default", ["text"])
    return [text for (text,) in found.rows], found.form


@pytest.mark.parametrize(
    ("given", "texts", "form"),
    [
        pytest.param({"instances": ["a", "😀"]}, [b"a", "😀".encode()], "row", id="rows"),
        pytest.param(
            {"instances": [{"text": "a"}, {"text": {"b64": "Yg=="}}]},
            [b"a", b"b"],
            "row",
            id="named-rows",
        ),
        pytest.param(
            {"instances": [{"b64": "Yg"}, "a"]}, [b"b", b"a"], "row", id="bytes-without-padding"
        ),
        pytest.param({"inputs": ["a", {"b64": ""}]}, [b"a", b""], "columnar", id="column"),
        pytest.param({"inputs": {"text": ["a"]}}, [b"a"], "columnar", id="named-column"),
        pytest.param({"inputs": []}, [], "columnar", id="empty-column"),
        pytest.param(
            {"signature_name": "serving_default", "instances": [""]}, [b""], "row", id="signature"
        ),
        pytest.param(
            {"signature_name": "", "instances": [""], "more": 1},
            [b""],
            "row",
            id="default-signature",
        ),
    ],
)
def test_texts_of_both_formats(given: Any, texts: list[bytes], form: str) -> None:
    assert read(given) == (texts, form)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(b"", "The document is empty", id="empty"),
        pytest.param(
            b'{"instances": [', "JSON Parse error: Expecting value at offset: 15", id="cut"
        ),
        pytest.param(b'{"instances": ["\xff"]}', "Invalid UTF-8 at offset: 16", id="not-utf-8"),
        pytest.param(
            b'{"instances": ["\\ud800"]}',
            "element: 0 of 'instances' list. Error: The surrogate pair",
            id="surrogate",
        ),
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep"),
        pytest.param(
            b'{"instances": [' + b"9" * 5000 + b"]}", "a number is too long", id="long-number"
        ),
        pytest.param([], "JSON Value is a list, not an object", id="no-object"),
        pytest.param({}, "Missing 'inputs' or 'instances' key", id="no-key"),
        pytest.param({"inputs": [], "instances": []}, "expecting only one of", id="both"),
        pytest.param({"instances": "a"}, "'instances' to be a list", id="no-list"),
        pytest.param({"instances": []}, "No values in 'instances' array", id="no-rows"),
        pytest.param(
            {"instances": ["a", 1]},
            "element: 1 of 'instances' list. Error: JSON Value of Type: number is not",
            id="number",
        ),
        pytest.param(
            {"instances": [None]}, "Type: null is not of expected type: string", id="null"
        ),
        pytest.param(
            {"instances": [["a"]]}, "Type: list is not of expected type: string", id="nested"
        ),
        pytest.param(
            {"instances": ["a", {"text": "b"}]}, "all plain values, or all objects", id="mixed"
        ),
        pytest.param({"instances": [{"txt": "a"}]}, "keys must be equal to: text", id="other-name"),
        pytest.param(
            {"instances": [{"text": "a", "x": 1}]}, "keys must be equal to: text", id="more-names"
        ),
        pytest.param({"instances": [{}]}, "keys must be equal to: text", id="no-name"),
        pytest.param({"instances": [{"b64": "%"}]}, "Unable to base64 decode", id="base64"),
        pytest.param({"instances": [{"b64": 1}]}, "must be a string", id="base64-number"),
        pytest.param(
            {"inputs": "a"}, "input 'text' must be a list of strings, found a string", id="scalar"
        ),
        pytest.param({"inputs": {"x": ["a"]}}, "Missing named input: text", id="missing-input"),
        pytest.param(
            {"inputs": {"text": ["a"], "x": []}}, "keys that are no inputs", id="unknown-input"
        ),
        pytest.param(
            {"signature_name": 1, "instances": ["a"]}, "must be a string value", id="signature-type"
        ),
        pytest.param(
            {"signature_name": "train", "instances": ["a"]},
            'Serving signature name: "train" not found',
            id="signature",
        ),
    ],
)
def test_an_unreadable_request_is_a_bad_request(given: Any, message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read(given)
    assert message in str(caught.value)


def read_pairs(value: Any) -> tuple[list[tuple[bytes, ...]], str]:
    found = parse_predict_request(json.dumps(value).encode(), "serving_default", ["q", "a"])
    return found.rows, found.form


def test_pairs_of_both_formats() -> None:
    rows = [{"a": "two", "q": "one"}, {"q": {"b64": "Yg"}, "a": ""}]
    assert read_pairs({"instances": rows}) == ([(b"one", b"two"), (b"b", b"")], "row")
    columns = {"a": ["two", ""], "q": ["one", "b"]}
    assert read_pairs({"inputs": columns}) == ([(b"one", b"two"), (b"b", b"")], "columnar")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"instances": ["a"]}, "a pair is an object with the keys: q,a", id="text"),
        pytest.param({"instances": [["a", "b"]]}, "an object with the keys: q,a", id="list"),
        pytest.param({"instances": [{"q": "a"}]}, "keys must be equal to: q,a", id="half"),
        pytest.param(
            {"instances": [{"q": "a", "a": None}]}, "null is not of expected type", id="null"
        ),
        pytest.param({"inputs": ["a"]}, "must be an object with a list of strings", id="column"),
        pytest.param({"inputs": {"q": ["a"]}}, "Missing named input: a", id="one-column"),
        pytest.param(
            {"inputs": {"q": ["x"], "a": ["y", "z"]}}, "found: q 1, a 2", id="other-lengths"
        ),
        pytest.param(
            {"inputs": {"q": [], "a": [], "x": []}}, "no inputs; they are: q,a", id="three"
        ),
    ],
)
def test_what_is_no_pair_is_a_bad_request(given: Any, message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read_pairs(given)
    assert message in str(caught.value)


def test_no_message_repeats_a_text() -> None:
    """Fault A10."""
    for body in (
        {"instances": ["secret", 1]},
        {"instances": [{"x": "secret"}]},
        {"inputs": "secret"},
        {"instances": [{"text": ["secret"]}]},
    ):
        with pytest.raises(BadRequestError) as caught:
            read(body)
        assert "secret" not in str(caught.value)


def test_replies_in_both_formats() -> None:
    outputs: dict[str, list[Any]] = {"label": ["a", "b"], "scores": [[0.1], [0.2]]}
    assert build_predict_response(outputs, "row") == {
        "predictions": [{"label": "a", "scores": [0.1]}, {"label": "b", "scores": [0.2]}]
    }
    assert build_predict_response(outputs, "columnar") == {"outputs": outputs}
    assert build_predict_response({"label": ["a", "b"]}, "row") == {"predictions": ["a", "b"]}
    assert build_predict_response({"label": ["a", "b"]}, "columnar") == {"outputs": ["a", "b"]}
