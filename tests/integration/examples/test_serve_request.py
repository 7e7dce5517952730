"""`serve_request.py` against `kubert serve` (REST) and a PredictionService (gRPC), both real."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples import serve_request
from tests.support.releases.prediction_service import PredictionService, run_prediction_service
from tests.support.releases.served_process import Served
from tests.support.releases.served_release import publish_release

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[3] / "examples" / "serve_request.py"
TEXTS = ["w1 w2 w3", 'w5 w7, "quoted" מִלָּה']
TENSORFLOW_SERVING = shutil.which("tensorflow_model_server")
Ports = dict[str, int]
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    publish_release(root, 1)
    return root / "models" / "news"


@pytest.fixture(scope="module")
def ports(release: Path) -> Iterator[Ports]:
    server = Served(release)
    with run_prediction_service(PredictionService(release / "1", "news")) as grpc_port:
        yield {"rest": server.port, "grpc": grpc_port}
    server.end()


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs the program in this process: exit code, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = serve_request.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def address(protocol: str, port: int) -> list[str]:
    return ["--protocol", protocol, "--port", str(port)]


def run_script(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_both_protocols_print_what_kubert_predict_prints(ports: Ports, release: Path) -> None:
    outputs = {}
    for protocol, port in ports.items():
        result = run_script(*address(protocol, port), *TEXTS)
        assert result.returncode == 0, result.stderr
        outputs[protocol] = result.stdout
    predict = [sys.executable, "-m", "pipeline.cli", "predict", str(release / "1"), *TEXTS]
    expected = subprocess.run(predict, capture_output=True, text=True, check=True).stdout
    assert outputs == {"rest": expected, "grpc": expected}
    assert len(expected.splitlines()) == len(TEXTS)


def test_json_has_the_same_labels_and_scores_over_both_protocols(ports: Ports, ask: Ask) -> None:
    answers = {}
    for protocol, port in ports.items():
        code, out, _ = ask(*address(protocol, port), "--json", *TEXTS)
        assert code == 0
        answers[protocol] = [json.loads(line) for line in out.splitlines()]
    for rest, grpc in zip(answers["rest"], answers["grpc"], strict=True):
        assert rest["scores"] == pytest.approx(grpc["scores"], abs=1e-6)
        assert sum(rest["scores"]) == pytest.approx(1, abs=1e-5)
        assert {**rest, "scores": None} == {**grpc, "scores": None}
    assert [answer["text"] for answer in answers["rest"]] == TEXTS


def test_the_signature_is_described_alike(ports: Ports, ask: Ask) -> None:
    shown = {
        protocol: ask(*address(protocol, port), "--describe") for protocol, port in ports.items()
    }
    assert shown["rest"] == shown["grpc"]
    assert shown["rest"] == (
        0,
        "model\tnews\tversion 1\n"
        "input\ttext\tDT_STRING\n"
        "output\tlabel\tDT_STRING\n"
        "output\tlabel_index\tDT_INT32\n"
        "output\tscores\tDT_FLOAT\n",
        "",
    )


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_version_can_be_named(protocol: str, ports: Ports, ask: Ask) -> None:
    code, out, _ = ask(*address(protocol, ports[protocol]), "--version", "1", "w1")
    assert (code, len(out.splitlines())) == (0, 1)


def test_texts_come_from_standard_input_without_arguments(ports: Ports) -> None:
    result = run_script(*address("rest", ports["rest"]), input="w1 w2\n\nw3\n")
    assert result.returncode == 0
    assert [line.split("\t")[2] for line in result.stdout.splitlines()] == ["w1 w2", "", "w3"]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "other"], "serves no model 'other' (Servable not found"),
        (["--version", "9"], "serves no model 'news' version 9 (Servable not found"),
    ],
    ids=["model", "version"],
)
def test_an_unknown_model_is_one_line_and_exit_code_2(
    protocol: str, arguments: list[str], message: str, ports: Ports, ask: Ask
) -> None:
    code, out, err = ask(*address(protocol, ports[protocol]), *arguments, "w1")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err and "set --model and --version" in err


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_that_is_away_is_one_line_and_exit_code_1(protocol: str, ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    code, out, err = ask(*address(protocol, port), "w1")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert f"127.0.0.1:{port}: Connection refused; is the server running" in err


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_an_unknown_host_is_one_line_and_exit_code_1(protocol: str, ask: Ask) -> None:
    code, out, err = ask("--protocol", protocol, "--host", "nowhere.invalid", "w1")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "nowhere.invalid:85" in err and "is the server running" in err


@pytest.mark.parametrize(("protocol", "other"), [("rest", "grpc"), ("grpc", "rest")])
def test_the_port_of_the_other_protocol_is_recognized(
    protocol: str, other: str, ports: Ports, ask: Ask
) -> None:
    code, out, err = ask(*address(protocol, ports[other]), "w1")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert f"the server does not speak {protocol}" in err
    assert f"use --protocol {other}" in err


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_that_does_not_answer_ends_with_the_timeout(protocol: str, ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        port = silent.getsockname()[1]
        code, out, err = ask(*address(protocol, port), "--timeout", "0.5", "w1")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "no answer within 0.5 s" in err
    assert time.monotonic() - started < 10


def test_a_server_that_answers_too_late_ends_with_the_timeout(release: Path, ask: Ask) -> None:
    service = PredictionService(release / "1", "news", delay_seconds=2)
    with run_prediction_service(service) as port:
        code, _, err = ask(*address("grpc", port), "--timeout", "0.5", "w1")
    assert (code, "no answer within 0.5 s" in err) == (1, True)
    assert len(service.requests) == 1, "the request arrived"


@pytest.mark.parametrize(
    "arguments",
    [["--protocol", "soap"], ["--port", "x"], ["--timeout", "0"], ["--nope"]],
    ids=["protocol", "port", "timeout", "flag"],
)
def test_an_error_in_the_command_line_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve_request.main([*arguments, "w1"])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.skipif(TENSORFLOW_SERVING is None, reason="tensorflow_model_server is not on PATH")
def test_tensorflow_serving_answers_like_kubert_serve(
    release: Path, ports: Ports, ask: Ask, tmp_path: Path
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        served = {"rest": one.getsockname()[1], "grpc": two.getsockname()[1]}
    command = [
        str(TENSORFLOW_SERVING),
        f"--port={served['grpc']}",
        f"--rest_api_port={served['rest']}",
        "--model_name=news",
        f"--model_base_path={release}",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while ask(*address("rest", served["rest"]), "w1")[0] != 0:
            assert process.poll() is None and time.monotonic() < deadline, (
                tmp_path / "log"
            ).read_text()
            time.sleep(0.5)
        expected = ask(*address("rest", ports["rest"]), *TEXTS)
        for protocol, port in served.items():
            assert ask(*address(protocol, port), *TEXTS) == expected
    finally:
        process.terminate()
        process.wait(30)
