"""The compiled pipeline that scores: the same bytes each time, and the settings of its pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config.cluster import ClusterConfig
from pipeline import scoring_definition
from pipeline.cli.main import main
from pipeline.images import resolve_images

GOLDEN = Path(__file__).with_name("golden_scoring.yaml")
TRAIN, STEP, TOOLS = (
    f"images.example/kubert-{name}@sha256:" + digit * 64
    for name, digit in (("train", "a"), ("step", "b"), ("tools", "c"))
)


def compile_to(path: Path, **options: Any) -> list[dict[str, Any]]:
    cluster = ClusterConfig(train_image=TRAIN, step_image=STEP, tools_image=TOOLS, **options)
    scoring_definition.compile_pipeline(path, {}, resolve_images(cluster))
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_the_pipeline_is_the_golden_one(tmp_path: Path) -> None:
    """To refresh it, copy the file that this test compiles; review the difference."""
    compile_to(tmp_path / "pipeline.yaml", backend="jobset")
    assert (tmp_path / "pipeline.yaml").read_text(encoding="utf-8") == GOLDEN.read_text(
        encoding="utf-8"
    )


def test_compile_writes_the_configuration_into_the_defaults(tmp_path: Path) -> None:
    config, path = tmp_path / "config.yaml", tmp_path / "score.yaml"
    config.write_text(
        "export: {model_store: gs://bucket/models, model_name: news}\n"
        "score: {source: gs://bucket/a.csv, to: gs://bucket/scores, keep: [id]}\n"
    )
    with pytest.raises(SystemExit) as end:
        main(["compile", str(config), "--pipeline", "score", "-o", str(path)])
    assert end.value.code == 0
    spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert spec["pipelineInfo"]["name"] == scoring_definition.PIPELINE_NAME
    defaults = {
        name: each.get("defaultValue")
        for name, each in spec["root"]["inputDefinitions"]["parameters"].items()
    }
    assert defaults["release"] == "gs://bucket/models/news"
    assert (defaults["source"], defaults["target"]) == ("gs://bucket/a.csv", "gs://bucket/scores")
    assert "id" in defaults["score"]


def test_no_step_is_cached_and_all_are_retried(tmp_path: Path) -> None:
    spec = compile_to(tmp_path / "pipeline.yaml")[0]
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {"resolve", "score"}
    assert [task["cachingOptions"] for task in tasks.values()] == [{}, {}]
    assert [task["retryPolicy"]["maxRetryCount"] for task in tasks.values()] == [2, 2]
    assert tasks["score"]["inputs"]["parameters"]["release"] == {
        "taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "resolve"}
    }


@pytest.mark.parametrize(("backend", "image"), [("local", TRAIN), ("jobset", STEP)])
def test_the_step_that_scores_has_the_image_that_it_needs(
    backend: str, image: str, tmp_path: Path
) -> None:
    spec, platform = compile_to(tmp_path / "pipeline.yaml", backend=backend, gpus=2)
    executors = spec["deploymentSpec"]["executors"]
    assert executors["exec-resolve"]["container"]["image"] == STEP
    container = executors["exec-score"]["container"]
    assert container["image"] == image
    assert ("accelerator" in container["resources"]) == (backend == "local")
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    fields = {field["name"] for field in pods["exec-score"]["fieldPathAsEnv"]}
    assert ("KUBERT_POD_UID" in fields) == (backend == "jobset")
