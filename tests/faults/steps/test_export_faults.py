"""The export step on a small real model, and what predict and pull make of its release."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components import registry
from components.artifacts import manifest, release
from components.artifacts.gate_decision import GateDecision, read_decision, write_decision
from components.artifacts.predictions import PredictionsWriter, iterate_predictions
from components.artifacts.token_shards import open_shards
from components.config.schema import EvaluateConfig, ExportConfig, Precision
from components.errors import ConfigError, DataError, KubertError, UsageError
from components.evaluate import step as evaluation
from components.export import parity, step
from components.export.warmup import WARMUP_FILENAME
from components.gate import step as gate
from components.model.length_chunking import CHUNK_COUNT
from components.registry import PublishedVersion
from components.registry.reference import pull
from components.registry.starting_point import resolve_starting_point
from components.serving.predict import predict
from components.storage.store import open_store
from tests.support.hash_counter import count_file_hashes
from tests.support.training.tiny_checkpoint import CLASSES, make_checkpoint
from tests.support.training.tokenized_texts import TEXTS, make_tokenized


@pytest.fixture(scope="module")
def evaluated_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluated")
    make_tokenized(root / "shards")
    make_checkpoint(root / "checkpoint")
    evaluation.run(EvaluateConfig(), root / "shards", root / "checkpoint", root / "report")
    gate.run(
        EvaluateConfig(),
        ExportConfig(model_store=str(root / "none")),
        root / "shards",
        root / "report",
        root / "decision.json",
    )
    return root


@pytest.fixture(scope="module")
def released_model(evaluated_checkpoint: Path) -> PublishedVersion:
    return export(evaluated_checkpoint, evaluated_checkpoint / "models")


def export(
    root: Path, store: Path, precision: Precision = "float32", **changes: Path
) -> PublishedVersion:
    inputs = (
        {name: root / name for name in ("shards", "checkpoint", "report")}
        | {"decision": root / "decision.json"}
        | changes
    )
    return step.run(ExportConfig(model_store=str(store), precision=precision), **inputs)


def test_the_release_says_where_it_comes_from(
    released_model: PublishedVersion, evaluated_checkpoint: Path
) -> None:
    opened = release.open_release(Path(released_model.uri))
    made, content = opened.manifest, opened.content
    assert made.inputs == {
        "data": "5" * 64,
        "shards": manifest.read_manifest(evaluated_checkpoint / "shards").digest,
        "checkpoint": manifest.read_manifest(evaluated_checkpoint / "checkpoint").digest,
        "report": manifest.read_manifest(evaluated_checkpoint / "report").digest,
    }
    assert (content.name, content.version, content.classes, content.test_rows) == (
        "news",
        1,
        CLASSES,
        24,
    )
    _, accuracy, low, high = content.main_metric
    assert accuracy is not None and low is not None and high is not None
    assert low < accuracy < high
    assert datetime.datetime.fromisoformat(made.provenance["released"]).tzinfo is datetime.UTC
    assert made.provenance["run"] == os.environ.get("KUBERT_RUN", "")
    assert content.gate == read_decision(evaluated_checkpoint / "decision.json").model_dump(
        mode="json"
    )
    assert content.parity_rows == 24
    assert content.parity_difference <= 1e-5
    assert (content.precision, content.served_accuracy) == ("float32", None)
    start = resolve_starting_point(str(evaluated_checkpoint / "models" / "news")).release
    assert start is not None and start.checkpoint == made.inputs["checkpoint"]


def test_no_text_of_the_data_and_no_path_of_this_machine_is_in_the_release(
    released_model: PublishedVersion, evaluated_checkpoint: Path
) -> None:
    """Fault A10."""
    for path in Path(released_model.uri).rglob("*"):
        if path.is_file():
            assert TEXTS[10].encode() not in path.read_bytes(), path.name
            assert str(evaluated_checkpoint).encode() not in path.read_bytes(), path.name


def test_the_warm_up_requests_are_those_that_a_server_replays(
    released_model: PublishedVersion,
) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(Path(released_model.uri) / WARMUP_FILENAME))
    ]
    signature = tf.saved_model.load(released_model.uri).signatures["serving_default"]
    assert len(logs) == 4
    for log, texts in zip(logs, (1, 1, 1, CHUNK_COUNT), strict=True):
        request = log.predict_log.request
        assert (request.model_spec.name, request.model_spec.signature_name) == (
            "news",
            "serving_default",
        )
        assert signature(
            **{name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        )["scores"].shape == (
            texts,
            3,
        )


def test_the_same_checkpoint_again_is_the_same_version(
    released_model: PublishedVersion, evaluated_checkpoint: Path
) -> None:
    """Fault E2."""
    again = export(evaluated_checkpoint, evaluated_checkpoint / "models")
    assert (again.version, again.uri, again.created) == (
        released_model.version,
        released_model.uri,
        False,
    )


def test_a_released_model_gives_the_evaluated_scores(
    released_model: PublishedVersion, evaluated_checkpoint: Path
) -> None:
    """Fault E4."""
    expected = next(iterate_predictions(evaluated_checkpoint / "report")).scores
    found = list(predict(released_model.uri, TEXTS))
    np.testing.assert_allclose([list(one.scores.values()) for one in found], expected, atol=1e-5)
    assert [one.label for one in found] == [CLASSES[index] for index in expected.argmax(axis=1)]
    assert [one.text for one in found] == TEXTS
    assert list(found[0].scores) == list(CLASSES)


def test_extreme_texts_get_a_prediction(released_model: PublishedVersion) -> None:
    """Fault E4."""
    assert all(
        abs(sum(one.scores.values()) - 1) < 1e-5
        for one in predict(released_model.uri, parity.PROBE_TEXTS)
    )


def test_predict_reads_an_endless_input(released_model: PublishedVersion) -> None:
    answers = predict(released_model.uri, iter(lambda: "w1 w2", None))
    assert [next(answers).text for _ in range(300)] == ["w1 w2"] * 300


def test_predict_finds_the_newest_version(
    released_model: PublishedVersion, evaluated_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(evaluated_checkpoint)
    for reference in (
        "models/news",
        "./models/../models/news",
        f"file://{evaluated_checkpoint}/models/news",
        str(evaluated_checkpoint / "models/news/1/"),
    ):
        assert next(predict(reference, ["w1"])).label in CLASSES


@pytest.mark.parametrize(
    ("reference", "kind", "message"),
    [
        ("models/news/9", DataError, "no version 9; complete versions: 1"),
        ("models/olds", DataError, "nothing is released under this name"),
        ("ftp://host/models/news", ConfigError, "unknown scheme 'ftp'"),
        ("gs://bucket", UsageError, "write <store>/<model name>"),
    ],
)
def test_predict_says_what_it_did_not_find(
    reference: str,
    kind: type[Exception],
    message: str,
    released_model: PublishedVersion,
    evaluated_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(evaluated_checkpoint)
    with pytest.raises(kind, match=message):
        next(predict(reference, ["w1"]))


def test_predict_refuses_a_changed_release_before_loading_it(
    released_model: PublishedVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault A2."""
    shutil.copytree(released_model.uri, tmp_path / "1")
    with open(tmp_path / "1" / "variables" / "variables.data-00000-of-00001", "r+b") as stream:
        stream.write(b"\x01")
    monkeypatch.setattr(
        tf.saved_model, "load", lambda path: pytest.fail("loaded before it was verified")
    )
    with pytest.raises(DataError, match="SHA-256"):
        next(predict(str(tmp_path / "1"), ["w1"]))


def test_pull_makes_the_layout_of_a_server(
    released_model: PublishedVersion, evaluated_checkpoint: Path, tmp_path: Path
) -> None:
    pulled = pull(str(evaluated_checkpoint / "models" / "news"), tmp_path / "served")
    version, directory = pulled.content.version, pulled.directory
    assert (version, directory) == (1, tmp_path / "served" / "1")
    assert sorted(path.name for path in (tmp_path / "served").iterdir()) == ["1"]
    release.open_release(directory)


def nothing_is_released(store: Path) -> bool:
    return registry.list_versions(open_store(str(store)), "news") == []


def test_a_closed_gate_releases_nothing(evaluated_checkpoint: Path, tmp_path: Path) -> None:
    """Fault T3."""
    decision = read_decision(evaluated_checkpoint / "decision.json").model_copy(
        update={"passed": False, "reason": "Closed: too bad."}
    )
    write_decision(tmp_path / "decision.json", decision)
    with pytest.raises(
        DataError, match=r"the gate is closed, nothing is released\. Closed: too bad\."
    ):
        export(evaluated_checkpoint, tmp_path / "models", decision=tmp_path / "decision.json")
    assert nothing_is_released(tmp_path / "models")


@pytest.mark.parametrize("harm", ["absent", "cut", "empty-digests", "other-report"])
def test_a_decision_that_is_damaged_or_about_something_else_is_refused(
    harm: str, evaluated_checkpoint: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    path = tmp_path / "decision.json"
    text = (evaluated_checkpoint / "decision.json").read_text()
    if harm == "cut":
        path.write_text(text[:-20])
    elif harm == "empty-digests":
        write_decision(path, GateDecision(passed=True, reason="", min_accuracy=0.0))
    elif harm == "other-report":
        path.write_text(json.dumps({**json.loads(text), "report_digest": "0" * 64}))
    with pytest.raises(DataError, match="decision"):
        export(evaluated_checkpoint, tmp_path / "models", decision=path)
    assert nothing_is_released(tmp_path / "models")


def test_another_checkpoint_than_the_evaluated_one_is_refused(
    evaluated_checkpoint: Path, tmp_path: Path
) -> None:
    """Fault C5."""
    make_checkpoint(tmp_path / "checkpoint", changes={"best_step": 3})
    with pytest.raises(DataError, match="is about another checkpoint"):
        export(evaluated_checkpoint, tmp_path / "models", checkpoint=tmp_path / "checkpoint")
    assert nothing_is_released(tmp_path / "models")


def test_other_shards_than_the_evaluated_ones_are_refused(
    evaluated_checkpoint: Path, tmp_path: Path
) -> None:
    """Fault C5."""
    shutil.copytree(evaluated_checkpoint / "shards", tmp_path / "shards")
    (tmp_path / "shards" / "manifest.json").unlink()
    content = manifest.read_manifest(evaluated_checkpoint / "shards").content | {
        "source_sha256": "6" * 64
    }
    manifest.commit(tmp_path / "shards", "token_shards", content=content)
    with pytest.raises(DataError, match="is about other data"):
        export(evaluated_checkpoint, tmp_path / "models", shards=tmp_path / "shards")
    assert nothing_is_released(tmp_path / "models")


def with_scores(root: Path, scores: np.ndarray, home: Path) -> dict[str, Path]:
    """The report and the decision of `root`, had the evaluator found these scores."""
    shutil.copytree(root / "report", home / "report")
    (home / "report" / "manifest.json").unlink()
    labels = next(iterate_predictions(root / "report")).labels
    with PredictionsWriter(home / "report") as predictions:
        predictions.add(labels, scores, None)
    made = manifest.commit(home / "report", "report", content={})
    write_decision(
        home / "decision.json",
        read_decision(root / "decision.json").model_copy(update={"report_digest": made.digest}),
    )
    return {"report": home / "report", "decision": home / "decision.json"}


def test_a_release_in_bfloat16_is_another_version_that_was_compared_on_all_rows(
    released_model: PublishedVersion, evaluated_checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(evaluated_checkpoint / "models", tmp_path / "models")
    narrow = export(evaluated_checkpoint, tmp_path / "models", "bfloat16")
    assert (narrow.version, narrow.created) == (released_model.version + 1, True)
    content = release.open_release(Path(narrow.uri)).content
    assert (content.precision, content.parity_rows) == ("bfloat16", len(TEXTS))
    assert content.served_accuracy == pytest.approx(content.accuracy, abs=parity.MAX_QUALITY_LOSS)
    assert 1e-5 < content.parity_difference < 0.1
    weights = [
        (Path(path) / "variables" / "variables.data-00000-of-00001").stat().st_size
        for path in (narrow.uri, released_model.uri)
    ]
    assert weights[0] < weights[1]
    assert not export(evaluated_checkpoint, tmp_path / "models", "bfloat16").created


@pytest.mark.parametrize(("lost", "refused"), [(0, False), (1, True)])
def test_a_model_that_is_less_often_right_in_bfloat16_is_not_released(
    lost: int, refused: bool, evaluated_checkpoint: Path
) -> None:
    split = open_shards(evaluated_checkpoint / "shards").open_split("test")
    wanted = np.eye(len(CLASSES), dtype=np.float32)[split.read_labels()[:]] * 0.02 + 0.49
    served = wanted.copy()
    served[:lost] = 0.98 - served[:lost]
    if refused:
        with pytest.raises(
            KubertError,
            match=r"right on 95\.83% of the test rows, evaluated were 100\.00%; "
            r"set export\.precision to float32",
        ):
            parity.check_test_rows(lambda texts: served, split, wanted.__getitem__, "bfloat16")
    else:
        found = parity.check_test_rows(lambda texts: served, split, wanted.__getitem__, "bfloat16")
        assert found.metrics == {"accuracy": 1.0}


@pytest.mark.parametrize("wrong", [2e-5, np.nan], ids=["a-little-off", "nan"])
def test_a_model_with_other_scores_than_evaluated_is_not_released(
    wrong: float, evaluated_checkpoint: Path, tmp_path: Path
) -> None:
    """Fault E4."""
    scores = next(iterate_predictions(evaluated_checkpoint / "report")).scores.copy()
    longest = len(TEXTS) - 1
    scores[longest, 0] += wrong
    with pytest.raises(
        KubertError,
        match=f"not released: for test row {longest} the exported model's scores differ",
    ):
        export(
            evaluated_checkpoint,
            tmp_path / "models",
            "float32",
            **with_scores(evaluated_checkpoint, scores, tmp_path),
        )
    assert nothing_is_released(tmp_path / "models")


def test_parity_is_checked_on_the_shortest_and_the_longest_rows() -> None:
    lengths = np.random.default_rng(0).permutation(np.arange(1, 1001)).astype(np.int32)
    chosen = lengths[parity.select_rows_by_length(lengths, 64)]
    assert len(set(chosen)) == 64
    assert (chosen.min(), chosen.max()) == (1, 1000)
    assert sorted(parity.select_rows_by_length(np.array([5, 5, 2], np.int32), 64)) == [0, 1, 2]


@pytest.mark.parametrize("step_name", ["evaluate", "gate", "export"])
def test_a_step_hashes_each_file_once(
    step_name: str, evaluated_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = count_file_hashes(monkeypatch)
    shards, checkpoint, report = (
        evaluated_checkpoint / name for name in ("shards", "checkpoint", "report")
    )
    if step_name == "evaluate":
        evaluation.run(EvaluateConfig(), shards, checkpoint, tmp_path / "report")
        hashed = [shards, checkpoint, tmp_path / "report"]
    elif step_name == "gate":
        registry_config = ExportConfig(model_store=str(tmp_path / "none"))
        gate.run(EvaluateConfig(), registry_config, shards, report, tmp_path / "decision.json")
        hashed = [shards, report]
    else:
        export(evaluated_checkpoint, tmp_path / "models")
        hashed = [shards, checkpoint, report]
        released_model = manifest.read_manifest(tmp_path / "models" / "news" / "1").files
        assert {Path(path).name for path in counts} >= {Path(name).name for name in released_model}
    files = {
        str(directory / name)
        for directory in hashed
        for name in manifest.read_manifest(directory).files
    }
    assert files <= counts.keys()
    assert {path: count for path, count in counts.items() if count > 1} == {}
