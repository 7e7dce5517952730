"""Long texts in windows, from the steps to the commands and the REST protocol."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.release import open_release
from components.artifacts.report import open_report, open_single_label_report
from components.artifacts.token_shards import open_shards
from components.config.loading import validate_config
from components.config.model import LongTexts
from components.config.schema import ModelConfig
from components.errors import ConfigError
from components.evaluate import step as evaluate
from components.explain.loading import load_explainer
from components.explain.options import ExplanationOptions
from components.export import step as export
from components.gate import step as gate
from components.serving.model_directory import select_served_version
from components.serving.rest_protocol import parse_predict_request
from components.serving.version_manager import load_version
from components.tokenize_text import step as tokenize_text
from components.train import step as train
from pipeline.api import releases
from pipeline.cli.main import app
from tests.support.training import local_training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WINDOWS = LongTexts(method="windows", overlap=2, max_windows=5)
SIZES = {"max_length": 16, "hidden_size": 16, "intermediate_size": 16, "vocab_size": 200}
MODEL = ModelConfig.model_validate(
    {
        "encoder": "scratch",
        "dropout": 0.2,
        "long_texts": "windows",
        "max_windows": WINDOWS.max_windows,
        **SIZES,
    }
)
FILLER = ("the", "old", "hall", "of", "stone", "is", "at", "a", "quay", "near", "lake")
CLASSES = {"opens": "yes", "closes": "no"}


def write_text(number: int, word: str) -> str:
    """A text of 5 to 40 words, of which the last one tells the class."""
    return " ".join([FILLER[(number + n) % len(FILLER)] for n in range(4 + number % 36)] + [word])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the artifacts of a run that released a model."""
    home = tmp_path_factory.mktemp("long")
    source = home / "texts.csv"
    rows = [(write_text(number, word), word) for number in range(150) for word in CLASSES]
    rows = [(f"{text} {number}", CLASSES[word]) for number, (text, word) in enumerate(rows)]
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *rows])
    config = validate_config(
        {
            "data": {"source": str(source), "text": "text"},
            "train": {"epochs": 8, "learning_rate": 0.02, "batch_size": 16},
            "evaluate": {"allow_unpredicted_classes": True},
            "export": {"model_store": str(home / "models"), "model_name": "long"},
        }
    )
    tokenize_text.run(config.data, MODEL, config.tokenize, home / "shards")
    train.run(MODEL, config.train, home / "shards", home / "checkpoint", home / "state")
    evaluate.run(config.evaluate, home / "shards", home / "checkpoint", home / "report")
    inputs = [home / name for name in ("shards", "checkpoint", "report", "decision.json")]
    decision = gate.run(config.evaluate, config.export, inputs[0], inputs[2], inputs[3])
    assert decision.passed, decision.reason
    export.run(config.export, *inputs)
    return home


@pytest.fixture(scope="module")
def release(home: Path) -> Path:
    return home / "models" / "long" / "1"


def test_what_is_last_is_learned_and_released(home: Path, release: Path) -> None:
    """Fault D10."""
    assert open_single_label_report(home / "report").content.accuracy > 0.9
    assert open_release(release).content.parity_difference < 1e-5


def test_every_artifact_says_how_long_texts_are_read(home: Path, release: Path) -> None:
    shards, report = open_shards(home / "shards").content, open_report(home / "report").content
    assert shards.long_texts == report.data.long_texts == WINDOWS
    assert open_checkpoint(home / "checkpoint").content.model.long_text_reading == WINDOWS
    assert open_release(release).content.long_texts == WINDOWS
    counts = report.data.long_text_counts
    assert counts is not None and counts == shards.long_text_counts
    assert counts.texts == 300
    assert 0 < counts.longer < 300
    assert counts.cut == counts.lost == 0
    page = (home / "report" / "report.html").read_text()
    assert f"{counts.longer} of 300 texts" in page
    assert "they are read in full, in windows" in page


def test_two_workers_learn_what_one_does(home: Path, tmp_path: Path) -> None:
    options = {f"model__{name}": value for name, value in MODEL.model_dump().items()}
    options |= {"train__epochs": 1, "train__learning_rate": 0.01, "train__batch_size": 33}
    one, two = (
        local_training.train(
            tmp_path / str(parts),
            home / "shards",
            local_training.options(
                **options, train__workers=workers, train__gradient_accumulation_steps=parts
            ),
        )
        for workers, parts in ((1, 1), (2, 2))
    )
    assert (one.workers, two.workers) == (1, 2)
    np.testing.assert_allclose(one.step_losses, two.step_losses, rtol=1e-5)
    assert one.history[0].validation_loss == pytest.approx(two.history[0].validation_loss, rel=1e-5)


def test_commands_and_the_rest_protocol_take_texts_of_any_length(
    release: Path, tmp_path: Path
) -> None:
    texts = [write_text(number, word) for number in (0, 35) for word in CLASSES]
    expected = [CLASSES[word] for _ in range(2) for word in CLASSES]
    answers = releases.load_release(release).predict(texts)
    assert [answer.label for answer in answers] == expected
    loaded = load_version(select_served_version(release.parent))
    request = parse_predict_request(
        json.dumps({"instances": texts}).encode(), "serving_default", loaded.scorer.inputs
    )
    assert loaded.predict(request.rows)["label"] == expected
    source = tmp_path / "new.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    to = ("--to", str(tmp_path / "out"), "--format", "csv", "--workers", "0")
    ended = CliRunner().invoke(
        app, ["score", str(release), "--source", str(source), "--text", "text", *to]
    )
    assert ended.exit_code == 0, ended.output
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [row["label"] for row in rows] == expected
    for row, answer in zip(rows, answers, strict=True):
        assert float(row["score"]) == pytest.approx(answer.scores[answer.label], abs=1e-5)


def test_the_words_of_all_windows_are_explained(release: Path) -> None:
    explainer = load_explainer(open_release(release))
    long, short = write_text(35, "opens"), write_text(3, "opens")
    plan = explainer.plan([long, short], ExplanationOptions(steps=64))
    in_windows, in_one = explainer.explain(plan)
    assert [word.text for word in in_windows.words] == long.split()
    assert max(in_windows.words, key=lambda word: word.weight).text == "opens"
    assert in_windows.unread is None
    assert in_windows.attention == ()
    assert in_one.attention
    assert "read in 4 windows" in in_windows.notes[0]
    assert in_windows.baseline is not None and in_windows.gap is not None
    total = sum(word.contribution or 0.0 for word in in_windows.words)
    difference = in_windows.evidence - in_windows.baseline
    assert total == pytest.approx(difference, abs=0.05 * abs(difference) + 0.01)


@pytest.mark.parametrize(
    "change",
    [{"long_texts": "cut"}, {"long_texts": "head_tail"}, {"max_windows": 6}, {"window_overlap": 3}],
)
def test_shards_for_other_options_are_refused(home: Path, tmp_path: Path, change: dict) -> None:
    """Fault D11."""
    model = MODEL.model_copy(update=change)
    with pytest.raises(ConfigError, match=r"model\.long_texts means .*; tokenize again"):
        train.run(
            model, validate_config({}).train, home / "shards", tmp_path / "out", tmp_path / "state"
        )


@pytest.mark.parametrize("method", ["head_tail", "windows"])
def test_pairs_are_only_cut(method: str) -> None:
    """Fault D11."""
    with pytest.raises(ConfigError, match=f"model.long_texts {method}: of pairs"):
        validate_config({"data": {"text_pair": ["a", "b"]}, "model": {"long_texts": method}})
