"""Pairs of texts from the sample to the served model, by the commands that people use."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from typer.testing import CliRunner

from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.gate_decision import GateDecision
from components.artifacts.release import open_release
from components.artifacts.report import open_report
from components.artifacts.token_shards import open_shards
from components.config.loading import validate_config
from components.config.schema import (
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    TokenizeConfig,
    TrainConfig,
)
from components.errors import KubertError
from components.evaluate import step as evaluate
from components.evaluate.mistake_explanations import PAIRS_NOTE
from components.export import step as export
from components.export.warmup import WARMUP_FILENAME
from components.gate import step as gate
from components.serving.model_directory import select_served_version
from components.serving.rest_protocol import BadRequestError, parse_predict_request
from components.serving.version_manager import load_version
from components.tokenize_text import step as tokenize_text
from components.train import step as train
from pipeline.api import releases
from pipeline.cli.main import app
from tests.support.releases.prediction_service import PredictionService, run_prediction_service
from tests.support.training import local_training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PAIR = ("Does the door open?", "It opens at nine.")
DATA = {"text_pair": ["question", "answer"], "label": "kind"}
SIZES = {"max_length": 32, "hidden_size": 16, "intermediate_size": 16, "vocab_size": 1000}
MODEL = ModelConfig.model_validate({"encoder": "scratch", "dropout": 0.2, **SIZES})
TRAIN = {"epochs": 4, "learning_rate": 0.02, "batch_size": 16}


def kubert(*arguments: str, code: int = 0, text: str = "") -> str:
    """Run the command in this process; what it printed, standard output and error."""
    ended = CliRunner().invoke(app, list(arguments), input=text)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        assert code == 2 and isinstance(ended.exception, KubertError)  # main makes it exit code 2
        return str(ended.exception)
    assert ended.exit_code == code, ended.output
    return ended.output


def write_source(path: Path) -> Path:
    """300 pairs whose answer alone decides: what a tiny model learns in seconds."""
    things = ["door", "shop", "gate", "hall", "desk"]
    rows = [
        (
            f"Does the {things[number % 5]} open on day {number}?",
            f"It {action} at {number}.",
            action,
        )
        for number in range(150)
        for action in ("opens", "closes")
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["question", "answer", "kind"], *rows])
    return path


def make_release(home: Path, **data: Any) -> GateDecision:
    """Run the steps into `home`, as the pipeline does; a release if the gate is open."""
    config = validate_config(
        {
            "data": {"source": str(write_source(home.parent / "pairs.csv")), **DATA, **data},
            "train": TRAIN,
            "evaluate": {"max_reported_errors": 5, "allow_unpredicted_classes": True},
            "export": {"model_store": str(home.parent / "models"), "model_name": "pairs"},
        }
    )
    tokenize_text.run(config.data, MODEL, config.tokenize, home / "shards")
    train.run(MODEL, config.train, home / "shards", home / "checkpoint", home / "state")
    evaluate.run(config.evaluate, home / "shards", home / "checkpoint", home / "report")
    decision = gate.run(
        config.evaluate, config.export, home / "shards", home / "report", home / "decision.json"
    )
    if decision.passed:
        inputs = [home / name for name in ("shards", "checkpoint", "report", "decision.json")]
        export.run(config.export, *inputs)
    return decision


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the artifacts of a run that released a model."""
    home = tmp_path_factory.mktemp("pairs") / "first"
    home.mkdir()
    decision = make_release(home)
    assert decision.passed, decision.reason
    return home


@pytest.fixture(scope="module")
def release(home: Path) -> Path:
    return home.parent / "models" / "pairs" / "1"


def test_two_workers_learn_from_the_sample_what_one_does(tmp_path: Path) -> None:
    data = DataConfig(source="sample:pairs", text_pair=("question", "answer"))
    tokenize_text.run(data, MODEL, TokenizeConfig(), tmp_path / "shards")
    options = {f"model__{name}": value for name, value in MODEL.model_dump().items()}
    options |= {"train__epochs": 1, "train__learning_rate": 0.01, "train__batch_size": 33}
    one, two = (
        local_training.train(
            tmp_path / str(workers),
            tmp_path / "shards",
            local_training.options(**options, train__workers=workers),
        )
        for workers in (1, 2)
    )
    assert (one.workers, two.workers) == (1, 2)
    np.testing.assert_allclose(one.step_losses, two.step_losses, rtol=1e-5)
    assert one.history[0].validation_loss == pytest.approx(two.history[0].validation_loss, rel=1e-5)


def test_every_artifact_names_the_inputs(home: Path, release: Path) -> None:
    found = (
        open_shards(home / "shards").content.inputs,
        open_checkpoint(home / "checkpoint").content.inputs,
        open_report(home / "report").content.inputs,
        open_release(release).content.inputs,
    )
    assert {*found} == {("question", "answer")}


def test_the_report_shows_both_texts_of_a_mistake(home: Path, tmp_path: Path) -> None:
    evaluate.run(
        EvaluateConfig(),
        home / "shards",
        make_worse_checkpoint(home, tmp_path),
        tmp_path / "report",
    )
    report = open_report(tmp_path / "report")
    page = (report.directory / "report.html").read_text()
    test_rows = open_shards(home / "shards").open_split("test")
    assert report.content.mistakes
    for mistake in report.content.mistakes:
        assert test_rows.read_texts([mistake.row]) == [(mistake.text, mistake.text_pair)]
        assert mistake.text_pair is not None and mistake.text_pair in page
    assert PAIRS_NOTE in page
    assert "question:</span>" in page and "answer:</span>" in page


def make_worse_checkpoint(home: Path, tmp_path: Path) -> Path:
    """A checkpoint of the same data that has learned nothing."""
    options = TrainConfig(epochs=1, learning_rate=1e-6, batch_size=16)
    train.run(MODEL, options, home / "shards", tmp_path / "worse", tmp_path / "state")
    return tmp_path / "worse"


def test_pairs_are_predicted_from_arguments_lines_and_json(release: Path) -> None:
    plain = kubert("predict", str(release), *PAIR).rstrip("\n").split("\t")
    assert plain[2:] == [*PAIR]
    lines = "\t".join(PAIR) + "\n" + json.dumps({"answer": PAIR[1], "question": PAIR[0]}) + "\n"
    printed = kubert("predict", str(release), "-", "--json", text=lines)
    tabbed, named = map(json.loads, printed.splitlines())
    # Rows of one batch may differ in the last bits, depending on the CPU's vector instructions.
    assert named.pop("scores") == pytest.approx(tabbed["scores"], abs=1e-6)
    assert named == {name: value for name, value in tabbed.items() if name != "scores"}
    assert tabbed["text"] == {"question": PAIR[0], "answer": PAIR[1]}
    assert (tabbed["label"], f"{tabbed['scores'][tabbed['label']]:.4f}") == (plain[0], plain[1])


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        pytest.param(["one"], "", "1 text: the release takes pairs of question and", id="half"),
        pytest.param(["-"], "one\n", "input, line 1: no pair of question and answer", id="line"),
        pytest.param(["-"], "a\tb\tc\n", "with a tab in between", id="two-tabs"),
        pytest.param(["-"], '{"question": "a"}\n', "with the keys question, answer", id="json"),
    ],
)
def test_what_is_no_pair_is_refused(
    release: Path, arguments: list[str], text: str, message: str
) -> None:
    assert message in kubert("predict", str(release), *arguments, code=2, text=text)


def test_explanations_of_pairs_are_refused(release: Path) -> None:
    assert "explanations are of single texts" in kubert("explain", str(release), *PAIR, code=2)


def test_scoring_takes_the_columns_of_the_inputs(release: Path, tmp_path: Path) -> None:
    source = tmp_path / "new.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([["q", "question", "answer"], ["1", *PAIR], ["2", *PAIR[::-1]]])
    to = ("--format", "csv", "--workers", "0")
    kubert(
        "score", str(release), "--source", str(source), "--to", str(tmp_path / "a"), "--keep", "q",
        *to,
    )  # fmt: skip
    kubert(
        "score", str(release), "--source", str(source), "--to", str(tmp_path / "b"), "--keep", "q",
        "--text-pair", "answer,question", *to,
    )  # fmt: skip
    with (tmp_path / "a/predictions.csv").open() as file:
        rows = [*csv.DictReader(file)]
    with (tmp_path / "b/predictions.csv").open() as file:
        swapped = [*csv.DictReader(file)]
    expected = releases.load_release(release).predict([PAIR, PAIR[::-1]])
    for row, other, answer in zip(rows, swapped[::-1], expected, strict=True):
        assert row["label"] == other["label"] == answer.label
        assert float(row["score"]) == pytest.approx(answer.scores[answer.label], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--text", "question"], "name the two columns by --text-pair", id="single"),
        pytest.param(["--text-pair", "question,reply"], "no column 'reply'", id="missing-column"),
        pytest.param(
            ["--text", "a", "--text-pair", "a,b"],
            "text and text_pair exclude each other",
            id="both",
        ),
    ],
)
def test_columns_that_make_no_pairs_are_refused(
    release: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    source = tmp_path / "new.csv"
    source.write_text("question,answer\nwho?,they\n")
    where = ("--source", str(source), "--to", str(tmp_path / "out"))
    assert message in kubert("score", str(release), *where, *arguments, code=2)
    assert not (tmp_path / "out").exists()


def test_the_rest_api_takes_both_inputs_by_name(release: Path) -> None:
    loaded = load_version(select_served_version(release.parent))
    both = {"question": PAIR[0], "answer": PAIR[1]}
    given = (
        {"instances": [both]},
        {"inputs": {name: [text] for name, text in both.items()}},
    )
    labels = []
    for body in given:
        request = parse_predict_request(
            json.dumps(body).encode(), "serving_default", loaded.scorer.inputs
        )
        labels.append(loaded.predict(request.rows)["label"])
    (expected,) = releases.load_release(release).predict([PAIR])
    assert labels == [[expected.label]] * 2
    with pytest.raises(BadRequestError, match="a pair is an object with the keys"):
        parse_predict_request(b'{"instances": ["who?"]}', "serving_default", loaded.scorer.inputs)


def test_tensorflow_serving_takes_both_inputs_and_the_warm_up_requests(release: Path) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "pairs", "serving_default"
    for name, text in zip(("question", "answer"), PAIR, strict=True):
        request.inputs[name].CopyFrom(tf.make_tensor_proto([text], tf.string))
    records = tf.data.TFRecordDataset(str(release / WARMUP_FILENAME))
    with (
        run_prediction_service(PredictionService(release, "pairs")) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request)
        for record in records.as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            assert set(log.inputs) == {"question", "answer"}
            assert stub.Predict(log).outputs["label"].string_val
    (expected,) = releases.load_release(release).predict([PAIR])
    assert answer.outputs["label"].string_val == [expected.label.encode()]


def test_a_champion_of_other_inputs_closes_the_gate(home: Path, release: Path) -> None:
    other = home.parent / "other"
    other.mkdir()
    decision = make_release(other, text_pair=["answer", "question"])
    assert not decision.passed
    assert "It takes the inputs question, answer, the candidate answer, question" in decision.reason
    assert [path.name for path in release.parent.iterdir() if path.name.isdigit()] == ["1"]
