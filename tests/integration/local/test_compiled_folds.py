"""The compiled pipeline of a cross-validation: the same bytes each time, and its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config.cluster import ClusterConfig
from pipeline.cli.main import main
from pipeline.cross_validation import definition, kfp_components
from pipeline.cross_validation.options import MAX_FOLDS
from pipeline.cross_validation.task_names import list_fold_tasks
from pipeline.images import resolve_images

GOLDEN = Path(__file__).with_name("golden_folds.yaml")
TRAIN, STEP, TOOLS = (
    f"images.example/kubert-{name}@sha256:" + digit * 64
    for name, digit in (("train", "a"), ("step", "b"), ("tools", "c"))
)


def compile_to(path: Path, folds: int = 2, **arguments: Any) -> list[dict[str, Any]]:
    cluster = ClusterConfig(backend="jobset", train_image=TRAIN, step_image=STEP, tools_image=TOOLS)
    definition.compile_pipeline(path, folds=folds, cluster=resolve_images(cluster), **arguments)
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def compiled_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compile_to(path)
    return path


def test_the_pipeline_is_the_golden_one(compiled_pipeline: Path) -> None:
    """To refresh it, copy the file that this test compiles; review the difference."""
    assert compiled_pipeline.read_text(encoding="utf-8") == GOLDEN.read_text(encoding="utf-8")


def test_each_fold_has_its_tasks_and_all_are_cached_and_retried(compiled_pipeline: Path) -> None:
    spec, platform = yaml.safe_load_all(compiled_pipeline.read_text(encoding="utf-8"))
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == set(list_fold_tasks(2))
    for name, task in tasks.items():
        assert task["cachingOptions"] == {"enableCache": True}, name
        assert task["retryPolicy"]["maxRetryCount"] == 2, name
    executors = spec["deploymentSpec"]["executors"]
    images = {name: each["container"]["image"] for name, each in executors.items()}
    commands = {name: each["container"]["command"] for name, each in executors.items()}
    assert images["exec-train-fold-2"] == TOOLS
    assert images["exec-evaluate-fold-2"] == images["exec-fold-1"] == STEP
    supervisor = ["python", "-m", "components.step_supervisor"]
    assert commands["exec-train-fold-2"][:4] == [*supervisor, "train"]
    assert commands["exec-fold-2"][:4] == [*supervisor, "fold"]
    assert [*tasks["summarize"]["inputs"]["artifacts"]] == ["report_1", "report_2"]
    reports = [name for name in kfp_components.summarize.component_spec.inputs if "report" in name]
    assert len(reports) == MAX_FOLDS
    assert {*platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]} == {*executors}


def test_at_most_so_many_folds_are_computed_at_a_time(tmp_path: Path) -> None:
    spec = compile_to(tmp_path / "pipeline.yaml", 5, parallel=2)[0]
    waits_for = {
        fold: spec["root"]["dag"]["tasks"][f"fold-{fold}"]["dependentTasks"] for fold in range(1, 6)
    }
    assert waits_for == {
        1: ["tokenize"],
        2: ["tokenize"],
        **{fold: [f"evaluate-fold-{fold - 2}", "tokenize"] for fold in (3, 4, 5)},
    }


def test_a_part_of_the_pipeline_has_the_same_tasks(compiled_pipeline: Path, tmp_path: Path) -> None:
    """Otherwise a fold that was finished by itself would not be reused in the whole pipeline."""
    whole = next(yaml.safe_load_all(compiled_pipeline.read_text(encoding="utf-8")))
    part = compile_to(tmp_path / "part.yaml", only=[2])[0]
    names = {"tokenize", "fold-2", "train-fold-2", "evaluate-fold-2"}
    assert set(part["root"]["dag"]["tasks"]) == names
    for name in names:
        for section in (part["components"], whole["components"]):
            assert f"comp-{name}" in section
        assert part["components"][f"comp-{name}"] == whole["components"][f"comp-{name}"]
        executors = (each["deploymentSpec"]["executors"][f"exec-{name}"] for each in (part, whole))
        assert next(executors) == next(executors)


@pytest.mark.parametrize("preset", ["quickstart", "multi_label"])
def test_compile_writes_the_configuration_and_the_folds_into_the_defaults(
    tmp_path: Path, preset: str
) -> None:
    path = tmp_path / "folds.yaml"
    with pytest.raises(SystemExit) as end:
        main(["compile", preset, "--folds", "2", "-o", str(path)])
    assert end.value.code == 0
    spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert spec["pipelineInfo"]["name"] == definition.PIPELINE_NAME
    assert parameters["folds"]["defaultValue"] == 2
    assert "keep_texts" in parameters["tokenize"]["defaultValue"]
    assert ("multi_label" in str(parameters["task"]["defaultValue"])) is (preset == "multi_label")
    assert not {"model_store", "model_name", "export"} & parameters.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--folds", "1"], "--folds 1: must be 2 to 20", id="one"),
        pytest.param(["--folds", "21"], "--folds 21: must be 2 to 20", id="too-many"),
        pytest.param(["--parallel", "2"], "--parallel is about a cross-validation", id="parallel"),
        pytest.param(
            ["--folds", "2", "--parallel", "0"], "--parallel 0: must be 1 or more", id="none"
        ),
        pytest.param(
            ["--folds", "2", "--pipeline", "score"], "leave out --pipeline score", id="score"
        ),
        pytest.param(
            ["--folds", "2", "--set", "model.start_from=gs://bucket/models/news"],
            "model.start_from: the release was trained on rows that the folds hold out",
            id="start-from",
        ),
    ],
)
def test_what_no_cross_validation_can_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    path = tmp_path / "folds.yaml"
    with pytest.raises(SystemExit) as end:
        main(["compile", "quickstart", *arguments, "-o", str(path)])
    assert (end.value.code, path.exists()) == (2, False)
    assert message in capsys.readouterr().err
