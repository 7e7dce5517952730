"""Faults of data, checkpoints, texts and the evaluation's own process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from components.artifacts import manifest
from components.artifacts.predictions import read_first_texts
from components.artifacts.report import ReportContent, open_report
from components.config.schema import EvaluateConfig
from components.errors import ConfigError, DataError
from components.evaluate import metrics, step
from tests.support.releases.made_report import CLASSES, labels_and_scores, report_content
from tests.support.training.tiny_checkpoint import MODEL, make_checkpoint, make_shards

LABELS = [0, 1, 2, 2, 1, 0, 0, 1, 2, 1]
CANARY = "canary-text-7f3a"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    make_shards(
        directory / "shards", LABELS, texts=[f"{CANARY} {row}" for row in range(len(LABELS))]
    )
    make_checkpoint(directory / "checkpoint")
    return directory


@pytest.fixture(scope="module")
def finished_report(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "report"
    step.run(EvaluateConfig(), inputs / "shards", inputs / "checkpoint", output)
    return output


def test_without_reported_errors_no_text_is_in_the_report(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Fault A10."""
    step.run(
        EvaluateConfig(max_reported_errors=0),
        inputs / "shards",
        inputs / "checkpoint",
        tmp_path / "report",
    )
    assert [
        path.name
        for path in (tmp_path / "report").iterdir()
        if CANARY.encode() in path.read_bytes()
    ] == []
    assert read_first_texts(tmp_path / "report", 1) == []
    assert open_report(tmp_path / "report").content.mistakes == ()
    assert CANARY not in "".join(capfd.readouterr())


def test_texts_are_in_no_log_and_no_manifest(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Fault A10."""
    step.run(EvaluateConfig(), inputs / "shards", inputs / "checkpoint", tmp_path / "report")
    assert CANARY in (tmp_path / "report" / "report.html").read_text()
    assert CANARY not in (tmp_path / "report" / manifest.MANIFEST_FILENAME).read_text()
    assert CANARY not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("classes", ("calm", "odd", "loud"), id="classes"),
        pytest.param("vocabulary_sha256", "0" * 64, id="vocabulary"),
        pytest.param("lower_case", False, id="lower_case"),
        pytest.param("encoder", MODEL.model_copy(update={"encoder": "minilm"}), id="encoder"),
        pytest.param("max_length", MODEL.model_copy(update={"max_length": 64}), id="max_length"),
    ],
)
def test_a_checkpoint_of_other_shards_is_refused(
    inputs: Path, tmp_path: Path, field: str, value: object
) -> None:
    """Fault C5."""
    changes = {"model": value} if field in ("encoder", "max_length") else {field: value}
    make_checkpoint(tmp_path / "checkpoint", changes=changes)
    with pytest.raises(ConfigError, match=f"checkpoint: its {field} is .*, the shards' is "):
        step.run(EvaluateConfig(), inputs / "shards", tmp_path / "checkpoint", tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("which", ["shards/test-00000.arrow", "checkpoint/vocab.txt"])
def test_a_truncated_input_is_refused(inputs: Path, tmp_path: Path, which: str) -> None:
    """Fault D1."""
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    with open(tmp_path / which, "r+b") as stream:
        stream.truncate(10)
    with pytest.raises(DataError, match=f"{which}: 10 bytes, the manifest says"):
        step.run(
            EvaluateConfig(), tmp_path / "shards", tmp_path / "checkpoint", tmp_path / "report"
        )
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf], ids=["nan", "infinity", "minus infinity"]
)
@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(7, 8), 1), (slice(7, 8), slice(3)), (slice(240), 0)],
    ids=["score", "row", "column"],
)
def test_a_score_that_is_not_finite_is_refused(
    value: float, rows: slice, columns: int | slice
) -> None:
    """Fault D5."""
    labels, scores = labels_and_scores()
    scores[rows, columns] = value
    with pytest.raises(
        DataError, match=f"NaN or infinite for {rows.stop - (rows.start or 0)} of 240 rows"
    ):
        metrics.compute_metrics(labels, scores, CLASSES)


def test_a_model_that_returns_nan_leaves_no_report(inputs: Path, tmp_path: Path) -> None:
    """Fault D5."""
    make_checkpoint(tmp_path / "checkpoint", poison=True)
    with pytest.raises(DataError, match="NaN or infinite for 10 of 10 rows"):
        step.run(EvaluateConfig(), inputs / "shards", tmp_path / "checkpoint", tmp_path / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_class_without_test_rows_is_reported(inputs: Path, tmp_path: Path) -> None:
    """Fault D5."""
    make_shards(tmp_path / "shards", [0, 1, 1, 0, 1, 0])
    found = step.run(
        EvaluateConfig(), tmp_path / "shards", inputs / "checkpoint", tmp_path / "report"
    )
    assert isinstance(found, ReportContent)
    assert found.missing_classes == ("odd",) and not found.one_class
    assert (found.per_class["odd"].recall, found.per_class["odd"].f1, found.roc["odd"]) == (
        None,
        None,
        None,
    )
    assert found.macro_f1 == pytest.approx(
        np.mean([found.per_class[name].f1 for name in ("calm", "loud")])
    )
    assert "No test texts for <bdi>odd</bdi>" in (tmp_path / "report" / "report.html").read_text()
    assert open_report(tmp_path / "report").content == found


def test_test_rows_of_one_class_are_reported(inputs: Path, tmp_path: Path) -> None:
    """Fault D5."""
    make_shards(tmp_path / "shards", [1] * 6)
    found = step.run(
        EvaluateConfig(), tmp_path / "shards", inputs / "checkpoint", tmp_path / "report"
    )
    assert isinstance(found, ReportContent)
    assert found.one_class and found.macro_f1 is None and "macro_f1" not in found.scalar_metrics()
    assert set(found.roc.values()) == {None} and found.majority_accuracy == 1
    assert "All test texts are of one class" in (tmp_path / "report" / "report.html").read_text()
    assert open_report(tmp_path / "report").content == found


def test_report_content_with_nan_is_refused() -> None:
    """Fault D5."""
    with pytest.raises(ValueError, match="finite"):
        type(report_content())(**{**dict(report_content()), "accuracy": float("nan")})


@pytest.mark.parametrize(
    "name", ["manifest.json", "report.json", "report.html", "predictions.arrow"]
)
@pytest.mark.parametrize("damage", ["missing", "cut", "longer"])
def test_a_report_with_a_damaged_file_is_refused(
    finished_report: Path, tmp_path: Path, name: str, damage: str
) -> None:
    """Fault T4."""
    shutil.copytree(finished_report, tmp_path / "report")
    path = tmp_path / "report" / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else content + b"x")
    with pytest.raises(DataError, match=r"report(/.*)?: "):
        open_report(tmp_path / "report")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["while scoring", "while writing"])
def test_a_killed_evaluation_leaves_no_report(inputs: Path, tmp_path: Path, moment: str) -> None:
    """Fault T4."""
    output, progress = tmp_path / "report", tmp_path / "progress"
    uris = [
        f"--shards={inputs / 'shards'}",
        f"--checkpoint={inputs / 'checkpoint'}",
        f"--output={output}",
    ]
    command = [
        sys.executable,
        "-m",
        "components.evaluate",
        *uris,
        "--set",
        "evaluate.batch_size=1",
    ]
    process = subprocess.Popen(
        command, env={**os.environ, "KUBERT_PROGRESS": str(progress)}, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 120
        while not _has_reached(moment, output, progress):
            assert process.poll() is None and time.monotonic() < deadline, (
                "the evaluation ended before it could be killed"
            )
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
    assert not output.exists()
    leftovers = list(tmp_path.glob(".report.*"))
    assert len(leftovers) == 1
    for directory in (output, *leftovers):
        with pytest.raises(DataError, match="not a finished artifact"):
            open_report(directory)
    step.run(EvaluateConfig(), inputs / "shards", inputs / "checkpoint", output)
    assert open_report(output).content.test_rows == len(LABELS)
    assert list(tmp_path.glob(".report.*")) == []


def _has_reached(moment: str, output: Path, progress: Path) -> bool:
    if moment == "while scoring":
        return progress.exists() and "scoring" in progress.read_text()
    return any(output.parent.glob(f".{output.name}.*/report.json"))
