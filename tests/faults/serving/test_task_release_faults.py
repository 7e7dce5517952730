"""Releases of several labels and of numbers: what is served, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.artifacts.artifact import Artifact
from components.artifacts.manifest import MANIFEST_FILENAME
from components.artifacts.release import ReleaseContent, open_release
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.batch_prediction.request import BatchPredictionRequest
from components.batch_prediction.step import run
from components.config.data import DataConfig
from components.config.task import TaskKind
from components.errors import DataError, KubertError
from components.explain.loading import load_explainer
from components.export.parity import check_predicted_labels
from components.model.serving_model import OUTPUTS, SIGNATURE_NAME, ServingModel, load_scorer
from components.scoring.models import ReleaseScorer
from components.serving.model_directory import VersionDirectory
from components.serving.predict import Predictor
from components.serving.rest_protocol import build_predict_response
from components.serving.version_manager import load_version
from tests.support.kinds.release_contents import CLASSES, MULTI_LABEL, REGRESSION, THRESHOLDS
from tests.support.kinds.releases import LogitTable, make_task_release
from tests.support.training.tiny_checkpoint import VOCABULARY

LABELS = {"w1": (2.0, -4.0, 0.4), "w2": (-4.0, -4.0, -4.0), "w3": (0.0, -0.5, 0.6)}
NUMBERS = {"w1": (1.5,), "w2": (-0.25,)}
TEXTS = ["w1 w9", "w2", "w3 w1"] * 4
"""More than a chunk, so that the graph sorts them by length."""
Releases = dict[TaskKind, Artifact[ReleaseContent]]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    root = tmp_path_factory.mktemp("releases")
    return {
        "multi_label": make_task_release(root / "labels" / "1", MULTI_LABEL, LABELS),
        "regression": make_task_release(root / "numbers" / "1", REGRESSION, NUMBERS),
    }


def test_the_signature_of_several_labels(releases: Releases) -> None:
    loaded = tf.saved_model.load(str(releases["multi_label"].directory))
    answer = loaded.signatures[SIGNATURE_NAME](text=tf.constant(TEXTS))
    assert set(answer) == set(OUTPUTS["multi_label"])
    scores, is_predicted = answer["scores"].numpy(), answer["is_predicted"].numpy()
    np.testing.assert_allclose(scores[0], 1 / (1 + np.exp([-2.0, 4.0, -0.4])), rtol=1e-6)
    assert (scores.dtype, scores.shape, is_predicted.dtype) == (np.float32, (12, 3), np.bool_)
    np.testing.assert_array_equal(is_predicted, scores >= np.array(THRESHOLDS, np.float32))
    names = [b"calm", b"loud", b"odd"]
    expected = np.where(is_predicted, np.array(names, object), b"")
    np.testing.assert_array_equal(answer["labels"].numpy(), expected)
    assert is_predicted.sum(axis=1).tolist() == [1, 0, 3] * 4


def test_the_signature_of_numbers(releases: Releases) -> None:
    loaded = tf.saved_model.load(str(releases["regression"].directory))
    answer = loaded.signatures[SIGNATURE_NAME](text=tf.constant(TEXTS))
    assert (set(answer), answer["value"].dtype) == ({"value"}, tf.float32)
    # standardized: 40 + 8 * 1.5, 40 + 8 * -0.25, and the mean for a text of no known word
    assert answer["value"].numpy().tolist() == [52.0, 38.0, 40.0] * 4


@pytest.mark.parametrize(
    ("kind", "form", "expected"),
    [
        pytest.param("regression", "row", {"predictions": [52.0, 38.0]}, id="numbers"),
        pytest.param("regression", "columnar", {"outputs": [52.0, 38.0]}, id="number-column"),
        pytest.param(
            "multi_label", "row", [["calm", "", ""], ["", "", ""]], id="labels-of-each-text"
        ),
    ],
)
def test_the_rest_server_answers_as_tensorflow_serving(
    releases: Releases, kind: TaskKind, form: str, expected: object
) -> None:
    loaded = load_version(VersionDirectory(1, releases[kind].directory, 0))
    outputs = loaded.predict([(b"w1",), (b"w2",)])
    response = json.loads(json.dumps(build_predict_response(outputs, form)))  # type: ignore[arg-type]
    if kind == "multi_label":
        assert [row["labels"] for row in response["predictions"]] == expected
        assert response["predictions"][0]["is_predicted"] == [True, False, False]
        assert loaded.quality == "micro_f1 0.7500"
    else:
        assert response == expected
        assert loaded.quality == "rmse 4.5000"


def test_predict_and_score_give_the_same(releases: Releases, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text\n" + "\n".join(TEXTS) + "\n")
    for kind, release in releases.items():
        predictions = list(Predictor(release).predict(TEXTS))
        done = run(
            BatchPredictionRequest(
                release=str(release.directory),
                data=DataConfig(source=str(tmp_path / "texts.csv"), text="text"),
                to=str(tmp_path / kind),
                format="jsonl",
                workers=0,
            )
        )
        rows = [json.loads(line) for line in Path(done.file).read_text().splitlines()]
        assert done.content.task.kind == kind
        if kind == "regression":
            assert [row["value"] for row in rows] == [each.value for each in predictions]
        else:
            assert [row["labels"] for row in rows] == [[*each.labels] for each in predictions]
            assert rows[2]["labels"] == ["calm", "loud", "odd"]


@pytest.mark.parametrize(
    ("task", "served_as"),
    [
        pytest.param(SINGLE_LABEL, MULTI_LABEL, id="sigmoids-for-a-softmax"),
        pytest.param(MULTI_LABEL, SINGLE_LABEL, id="a-softmax-for-sigmoids"),
        pytest.param(REGRESSION, SINGLE_LABEL, id="classes-for-a-number"),
    ],
)
def test_a_graph_of_another_kind_of_task_than_the_manifest_names_is_refused(
    task: TaskInfo, served_as: TaskInfo, tmp_path: Path
) -> None:
    """Fault E7."""
    release = make_task_release(tmp_path / "1", task, served_as=served_as)
    with pytest.raises(DataError, match="has no signature serving_default from text to"):
        load_scorer(release.directory, release.content.inputs, task.kind)


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL], ids=lambda task: task.kind)
def test_a_manifest_with_fewer_classes_than_the_graph_is_refused(
    task: TaskInfo, tmp_path: Path
) -> None:
    """Fault E7."""
    directory = make_task_release(tmp_path / "1", task, LABELS).directory
    manifest = json.loads((directory / MANIFEST_FILENAME).read_text())
    for field in ("classes", "thresholds") if task.kind == "multi_label" else ("classes",):
        del manifest["content"][field][-1]
    (directory / MANIFEST_FILENAME).write_text(json.dumps(manifest))
    release = open_release(directory)
    uses: list[Callable[[], object]] = [
        lambda: Predictor(release),
        lambda: load_version(VersionDirectory(1, directory, 0)),
        lambda: ReleaseScorer(release, "scores"),
        lambda: load_explainer(release),
    ]
    for use in uses:
        with pytest.raises(DataError, match=r"gives 3 scores .* its manifest names 2 classes"):
            use()


def test_a_graph_without_a_threshold_for_each_class_is_not_built() -> None:
    with pytest.raises(ValueError, match="2 thresholds for 3 classes"):
        ServingModel(
            LogitTable(LABELS, 3), VOCABULARY, CLASSES, 20, task=MULTI_LABEL, thresholds=(0.5, 0.5)
        )


def test_labels_that_are_not_those_of_the_scores_are_not_released(releases: Releases) -> None:
    """Fault E4."""
    directory = releases["multi_label"].directory
    compute = load_scorer(directory, kind="multi_label").compute_outputs
    check_predicted_labels(compute, TEXTS, CLASSES, THRESHOLDS)
    with pytest.raises(KubertError, match="not those whose scores reach their thresholds"):
        check_predicted_labels(compute, TEXTS, CLASSES, (0.95, 0.375, 0.625))
    with pytest.raises(KubertError, match="not those whose scores reach their thresholds"):
        check_predicted_labels(compute, TEXTS, CLASSES[::-1], THRESHOLDS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"thresholds": [0.5]},
            r"does not describe a release \(a release of several labels has a threshold for each",
            id="thresholds",
        ),
        pytest.param({"thresholds": [0.5, 1.5, 0.5]}, "does not describe", id="not-a-score"),
        pytest.param({"thresholds": [0.5, float("nan"), 0.5]}, "does not describe", id="nan"),
        pytest.param(
            {"task": {"kind": "ranking"}},
            r"does not describe a release \(task\.kind: .*get it again",
            id="kind",
        ),
        pytest.param({"classes": None}, r"\(classes: .* valid tuple\)", id="classes"),
    ],
)
def test_a_manifest_that_does_not_fit_its_kind_of_task_is_refused(
    releases: Releases, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """Fault E7."""
    shutil.copytree(releases["multi_label"].directory, tmp_path / "1")
    path = tmp_path / "1" / MANIFEST_FILENAME
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "content": manifest["content"] | change}))
    with pytest.raises(DataError, match=message):
        open_release(tmp_path / "1")
