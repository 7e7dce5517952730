"""The command `kubert serve` with a real model: TensorFlow Serving's REST API over HTTP."""

from __future__ import annotations

import base64
import concurrent.futures
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.model.serving_model import load_scorer
from tests.support.releases.served_process import Served
from tests.support.releases.served_release import publish_release
from tests.support.training.tiny_checkpoint import CLASSES

pytestmark = pytest.mark.slow
TEXTS = [
    "w1 w2 w3",
    "",
    "😀 w5 \u202emixed מִלָּה",
    " ".join(f"w{n % 60}" for n in range(10_000)),
    "line\nbreak\u0000",
]
MODEL = "/v1/models/news"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    publish_release(root, 1)
    return root / "models" / "news"


@pytest.fixture(scope="module")
def server(release: Path) -> Iterator[Served]:
    started = Served(release)
    yield started
    started.end()


@pytest.mark.parametrize(
    ("body", "key"),
    [
        pytest.param({"instances": TEXTS}, "predictions", id="rows"),
        pytest.param(
            {"instances": [{"text": text} for text in TEXTS]}, "predictions", id="named-rows"
        ),
        pytest.param(
            {"instances": [{"b64": base64.b64encode(text.encode()).decode()} for text in TEXTS]},
            "predictions",
            id="bytes",
        ),
        pytest.param({"inputs": TEXTS}, "outputs", id="column"),
        pytest.param(
            {"inputs": {"text": TEXTS}, "signature_name": "serving_default"},
            "outputs",
            id="named-column",
        ),
    ],
)
def test_scores_over_http_are_those_of_the_model(
    body: Any, key: str, server: Served, release: Path
) -> None:
    """Fault E4."""
    expected = load_scorer(release / "1")(TEXTS)
    status, reply = server.call("POST", f"{MODEL}:predict", body)
    assert (status, list(reply)) == (200, [key])
    rows = (
        reply[key]
        if key == "predictions"
        else [
            dict(zip(reply[key], row, strict=True))
            for row in zip(*reply[key].values(), strict=True)
        ]
    )
    np.testing.assert_allclose([row["scores"] for row in rows], expected, atol=1e-5)
    assert [row["label_index"] for row in rows] == expected.argmax(1).tolist()
    assert [row["label"] for row in rows] == [CLASSES[index] for index in expected.argmax(1)]


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 1000])
def test_batches_of_any_size_preserve_their_order(count: int, server: Served) -> None:
    texts = [f"w{n % 60} " * (1 + n % 7) for n in range(count)]
    one_by_one = {
        text: server.predict(text)[1]["predictions"][0]["scores"] for text in set(texts[:8])
    }
    predictions = server.predict(*texts)[1]["predictions"]
    assert len(predictions) == count
    for text, row in list(zip(texts, predictions, strict=True))[:8]:
        np.testing.assert_allclose(row["scores"], one_by_one[text], atol=1e-5)


def test_an_empty_column_has_an_empty_response(server: Served) -> None:
    assert server.call("POST", f"{MODEL}:predict", {"inputs": []}) == (
        200,
        {"outputs": {"label": [], "label_index": [], "scores": []}},
    )


def test_status_metadata_and_health(server: Served) -> None:
    available = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    assert server.call("GET", MODEL) == (200, {"model_version_status": [available]})
    assert server.call("GET", f"{MODEL}/versions/1") == (200, {"model_version_status": [available]})
    status, reply = server.call("GET", f"{MODEL}/metadata")
    assert (status, reply["model_spec"]) == (
        200,
        {"name": "news", "signature_name": "", "version": "1"},
    )
    signature = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    vector = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert (signature["inputs"]["text"]["dtype"], signature["inputs"]["text"]["tensor_shape"]) == (
        "DT_STRING",
        vector,
    )
    assert {name: value["dtype"] for name, value in signature["outputs"].items()} == {
        "label": "DT_STRING",
        "label_index": "DT_INT32",
        "scores": "DT_FLOAT",
    }
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert server.call("GET", "/healthz") == (200, {"status": "ok", "model": "news", "version": 1})


NOT_FOUND = "Servable not found for request:"
INSTANCE = {"instances": ["a"]}
PREDICT = f"{MODEL}:predict"
INVALID_REQUESTS = [
    ("POST", PREDICT, b"{", 400, "JSON Parse error"),
    ("POST", PREDICT, {"instances": [7]}, 400, "is not of expected type: string"),
    ("POST", PREDICT, {"instances": [{"b64": "/w=="}]}, 200, ""),
    ("POST", f"{MODEL}/versions/1:predict", INSTANCE, 200, ""),
    ("POST", f"{MODEL}/versions/2:predict", INSTANCE, 404, f"{NOT_FOUND} Specific(news, 2)"),
    ("POST", f"{MODEL}/versions/x:predict", INSTANCE, 400, "Failed to convert version"),
    ("POST", f"{MODEL}/labels/a:predict", INSTANCE, 400, "Unrecognized servable version label: a"),
    ("POST", "/v1/models/other:predict", INSTANCE, 404, f"{NOT_FOUND} Latest(other)"),
    ("GET", "/v1/models/other", None, 404, "Could not find any versions of model other"),
    ("GET", f"{MODEL}/versions/2", None, 404, "Could not find version 2 of model news"),
    ("POST", f"{MODEL}:classify", {}, 400, "Expected classification signature"),
    ("POST", f"{MODEL}:regress", {}, 400, "Expected regression signature"),
    ("GET", PREDICT, None, 400, "Malformed request: GET"),
    ("DELETE", MODEL, None, 400, "Malformed request: DELETE"),
    ("POST", f"{MODEL}:explain", {}, 400, "Malformed request: POST"),
    ("GET", "/v1/models/a/b/c", None, 400, "Malformed request"),
    ("GET", "/", None, 404, "Not Found"),
    ("POST", PREDICT, b" " * (17 * 2**20), 413, "Too Large"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), INVALID_REQUESTS)
def test_each_invalid_request_has_its_status(
    method: str, path: str, body: Any, status: int, message: str, server: Served
) -> None:
    found, reply = server.call(method, path, body)
    assert (found, message in reply.get("error", "")) == (status, True), reply


def test_many_concurrent_clients_get_the_same_scores(server: Served) -> None:
    with concurrent.futures.ThreadPoolExecutor(24) as clients:
        replies = list(
            clients.map(lambda number: server.predict(f"w{number % 60}", "w1"), range(96))
        )
    assert {status for status, _ in replies} == {200}
    assert len({str(reply["predictions"][1]) for _, reply in replies}) <= 2, (
        "the same text has the same answer, to rounding"
    )


def test_no_text_is_logged(server: Served) -> None:
    """Fault A10."""
    canary = "canary-7f3a"
    server.predict(canary)
    server.predict(canary, 5)
    server.call("POST", f"{MODEL}:predict", f'{{"instances": ["{canary}"'.encode())
    server.call("POST", f"{MODEL}/versions/{canary}:predict", {"instances": [canary]})
    assert canary not in "\n".join(server.lines)


def test_a_release_under_another_name_finishes_requests_in_flight_on_stop(release: Path) -> None:
    started = Served(release / "1", "--name", "mine")
    with concurrent.futures.ThreadPoolExecutor(1) as client:
        long = client.submit(
            started.predict, *[f"w{n % 60} " * 20 for n in range(8000)], model="mine"
        )
        started.wait_for("answering at")
        time.sleep(0.3)
        assert started.end() == 0
        status, reply = long.result()
    assert (status, len(reply["predictions"])) == (200, 8000)
    assert started.lines[-1].endswith(": stopping: requests under way are answered first")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{here}/nothing"], "no such directory"),
        (["{here}"], "holds no version"),
        (["{release}", "--name", "a/b"], "--name 'a/b'"),
        (["{release}", "--port", "{taken}"], "--port {taken}: "),
    ],
    ids=["missing", "empty", "name", "port"],
)
def test_user_errors_are_reported(
    arguments: list[str], message: str, release: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        values = {"here": tmp_path, "release": release, "taken": other.getsockname()[1]}
        command = [
            sys.executable,
            "-m",
            "pipeline.cli",
            "serve",
            *(argument.format(**values) for argument in arguments),
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert message.format(**values) in result.stderr
    assert "Traceback" not in result.stderr
