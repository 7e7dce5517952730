"""`serve_request.py` and models of several labels, of numbers and of pairs, over both protocols."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from examples import serve_request
from tests.support.kinds.release_contents import MULTI_LABEL, REGRESSION
from tests.support.kinds.releases import make_task_release
from tests.support.releases.prediction_service import PredictionService, run_prediction_service
from tests.support.releases.rest_service import run_rest_service

pytestmark = pytest.mark.slow
LOGITS: dict[str, dict[str, tuple[float, ...]]] = {
    "labels": {"w1": (2.0, -4.0, 0.4), "w2": (-4.0, -4.0, -4.0)},
    "numbers": {"w1": (1.5,), "w2": (-0.26,)},
    "pairs": {"w1": (0.0, 3.0, 0.0)},
}
TASKS: dict[str, TaskInfo] = {"labels": MULTI_LABEL, "numbers": REGRESSION, "pairs": SINGLE_LABEL}
PAIR = ("question", "answer")
Ports = dict[tuple[str, str], int]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """The port of each model, by its name and the protocol."""
    root = tmp_path_factory.mktemp("releases")
    found: Ports = {}
    with ExitStack() as stack:
        for name, task in TASKS.items():
            inputs = PAIR if name == "pairs" else ("text",)
            version = root / name / "1"
            make_task_release(version, task, LOGITS[name], inputs=inputs)
            service = PredictionService(version, name)
            found[name, "grpc"] = stack.enter_context(run_prediction_service(service))
            found[name, "rest"] = stack.enter_context(run_rest_service(root / name, name))
        yield found


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def address(ports: Ports, name: str, protocol: str) -> list[str]:
    port = str(ports[name, protocol])
    return ["--protocol", protocol, "--port", port, "--model", name]


@pytest.mark.parametrize(
    ("name", "arguments", "lines"),
    [
        pytest.param(
            "labels",
            ["w1 w9", "w2"],
            ["calm\t0.8808\tw1 w9", "-\t-\tw2"],
            id="labels",
        ),
        pytest.param("numbers", ["w1", "w2"], ["52.0\tw1", "37.92\tw2"], id="numbers"),
        pytest.param(
            "pairs",
            ["--inputs", "question,answer", "w1", "w5 w6", "w3", "w1"],
            ["loud\t0.9094\tw1\tw5 w6", "calm\t0.3333\tw3\tw1"],
            id="pairs",
        ),
    ],
)
def test_both_protocols_print_what_the_outputs_say(
    ports: Ports,
    protocol: str,
    capsys: pytest.CaptureFixture[str],
    name: str,
    arguments: list[str],
    lines: list[str],
) -> None:
    assert serve_request.main([*address(ports, name, protocol), *arguments]) == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_json_has_the_fields_of_the_kind(
    ports: Ports, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for name, texts in {"labels": ["w1"], "numbers": ["w2"], "pairs": ["w1", "w2"]}.items():
        inputs = ",".join(PAIR) if name == "pairs" else "text"
        arguments = [*address(ports, name, protocol), "--json", "--inputs", inputs, *texts]
        assert serve_request.main(arguments) == 0
        found[name] = json.loads(capsys.readouterr().out)
    scores = found["labels"].pop("scores")
    assert scores == pytest.approx([0.8808, 0.01799, 0.5987], abs=1e-4)
    assert found["labels"] == {
        "text": "w1",
        "labels": ["calm"],
        "is_predicted": [True, False, False],
    }
    assert found["numbers"] == {"text": "w2", "value": 37.92}
    assert found["pairs"]["text"] == {"question": "w1", "answer": "w2"}
    assert found["pairs"]["label"] == "loud"


@pytest.mark.parametrize(
    ("texts", "lines", "message"),
    [
        pytest.param(["w1"], "", "1 texts are no pairs of question and answer", id="arguments"),
        pytest.param([], "w1\tw2\nw3\n", "standard input, line 2: no pair of", id="line"),
    ],
)
def test_what_is_no_pair_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    texts: list[str],
    lines: str,
    message: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert serve_request.main(["--inputs", ",".join(PAIR), *texts]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert message in err


@pytest.mark.parametrize("inputs", ["a,b,c", "a,a", "a,"])
def test_names_of_inputs_are_checked(inputs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve_request.main(["--inputs", inputs, "w1"])
    assert ended.value.code == 2
    assert "--inputs: must be one name, or two" in capsys.readouterr().err


def test_a_model_of_somebody_else_is_named() -> None:
    with pytest.raises(serve_request.RequestError, match="the outputs a, b, which no release"):
        serve_request.read_answer({"b": 1, "a": 2})
