"""The compiled pipeline: the same bytes each time, without secrets or paths of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.config.cluster import ClusterConfig
from pipeline import definition

GOLDEN = Path(__file__).with_name("golden.yaml")
CANARY = "canary-5f1d"


def compile_to(path: Path, *arguments: str, **environment: str) -> dict:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KUBERT_")}
    command = [sys.executable, "-m", "pipeline.cli", "compile", *arguments, "-o", str(path)]
    subprocess.run(
        command,
        check=True,
        env={**clean, **environment},
        capture_output=True,
        cwd=Path(__file__).parents[3],
    )
    return next(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def compiled_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compile_to(path, GOOGLE_API_KEY=CANARY, AWS_SECRET_ACCESS_KEY=CANARY)
    return path


def test_the_pipeline_is_the_golden_one(compiled_pipeline: Path) -> None:
    assert compiled_pipeline.read_text(encoding="utf-8") == GOLDEN.read_text(encoding="utf-8"), (
        "the compiled pipeline has changed; if it should, refresh it: "
        "kubert compile quickstart -o tests/integration/local/golden.yaml"
    )


def test_it_contains_no_secret_and_no_path_of_this_machine(compiled_pipeline: Path) -> None:
    """Fault A6."""
    text = compiled_pipeline.read_text(encoding="utf-8")
    for hidden in (CANARY, str(Path.home()), str(Path(__file__).parents[3]), sys.prefix, "/tmp/"):
        assert hidden not in text


def test_there_are_five_tasks_and_export_depends_on_the_gate(compiled_pipeline: Path) -> None:
    spec = next(yaml.safe_load_all(compiled_pipeline.read_text(encoding="utf-8")))
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {"tokenize", "train", "evaluate", "gate", "condition-1"}
    assert set(spec["components"]["comp-condition-1"]["dag"]["tasks"]) == {"export"}
    assert (
        tasks["condition-1"]["triggerPolicy"]["condition"]
        == "inputs.parameter_values['pipelinechannel--gate-Output'] == true"
    )
    cached = {
        name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")
    }
    assert cached == {"tokenize", "train", "evaluate"}
    assert (
        "enableCache"
        not in spec["components"]["comp-condition-1"]["dag"]["tasks"]["export"]["cachingOptions"]
    )


def test_every_parameter_is_optional_and_described(compiled_pipeline: Path) -> None:
    spec = next(yaml.safe_load_all(compiled_pipeline.read_text(encoding="utf-8")))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert {
        name
        for name, parameter in parameters.items()
        if not (parameter.get("description") and parameter["isOptional"])
    } == set()
    assert parameters["learning_rate"]["parameterType"] == "NUMBER_DOUBLE"
    assert parameters["epochs"]["parameterType"] == "NUMBER_INTEGER"


TRAIN = "images.example/kubert-train@sha256:" + "a" * 64
STEP = "images.example/kubert-train@sha256:" + "c" * 64
TOOLS = "images.example/kubert-tools@sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("backend", "launcher"),
    [pytest.param("local", TRAIN, id="local"), pytest.param("jobset", TOOLS, id="jobset")],
)
def test_nothing_is_installed_when_a_step_starts_and_the_launcher_needs_no_tensorflow(
    tmp_path: Path, backend: str, launcher: str
) -> None:
    images = {
        "KUBERT_TRAIN_IMAGE": TRAIN,
        "KUBERT_STEP_IMAGE": STEP,
        "KUBERT_TOOLS_IMAGE": TOOLS,
    }
    spec = compile_to(tmp_path / "pipeline.yaml", "--set", f"cluster.backend={backend}", **images)
    containers = read_containers(spec)
    assert {name: container["image"] for name, container in containers.items()} == {
        **dict.fromkeys(("tokenize", "evaluate", "gate", "export"), STEP),
        "train": launcher,
    }
    assert not any(
        "pip install" in part for container in containers.values() for part in container["command"]
    )


def test_only_steps_that_are_named_get_a_gpu_and_the_image_for_it(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    options = [
        "cluster.backend=jobset",
        "cluster.gpus=4",
        "cluster.gpu_steps=[evaluate]",
        "cluster.node_selector={pool: gpu}",
        f"cluster.train_image={TRAIN}",
        f"cluster.step_image={STEP}",
    ]
    spec = compile_to(path, *[part for option in options for part in ("--set", option)])
    containers, platform = read_containers(spec), read_platform_spec(path)
    with_gpu = {name for name, each in containers.items() if "accelerator" in each["resources"]}
    assert with_gpu == {"evaluate"}
    assert containers["evaluate"]["resources"]["accelerator"]["resourceCount"] == "1"
    images = {name: container["image"] for name, container in containers.items()}
    assert (images["evaluate"], images["export"]) == (TRAIN, STEP)
    variables = {entry["name"]: entry["value"] for entry in containers["evaluate"]["env"]}
    assert (variables["KUBERT_IMAGE"], variables["KUBERT_GPUS"]) == (TRAIN, "1")
    selected = {name for name, executor in platform.items() if "nodeSelector" in executor}
    assert selected == {"exec-evaluate"}


def read_containers(spec: dict) -> dict:
    """The container of each step."""
    return {
        name.removeprefix("exec-"): executor["container"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }


def read_platform_spec(path: Path) -> dict:
    executors: dict = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))[1]["platforms"][
        "kubernetes"
    ]["deploymentSpec"]["executors"]
    return executors


def test_every_step_runs_as_an_unprivileged_user(compiled_pipeline: Path) -> None:
    """Fault A9."""
    expected = {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
    assert {
        name: executor["securityContext"]
        for name, executor in read_platform_spec(compiled_pipeline).items()
    } == dict.fromkeys(
        ("exec-tokenize", "exec-train", "exec-evaluate", "exec-gate", "exec-export"), expected
    )


def test_storage_keys_come_from_a_secret_by_name(tmp_path: Path) -> None:
    """Fault A6."""
    path = tmp_path / "pipeline.yaml"
    compile_to(
        path,
        "--set",
        "cluster.storage_secret=mlpipeline-minio-artifact",
        "--set",
        "cluster.storage_endpoint=http://store:9000",
    )
    for executor in read_platform_spec(path).values():
        (secret,) = executor["secretAsEnv"]
        assert secret["secretName"] == "mlpipeline-minio-artifact"
        assert {entry["secretKey"]: entry["envVar"] for entry in secret["keyToEnv"]} == {
            "accesskey": "AWS_ACCESS_KEY_ID",
            "secretkey": "AWS_SECRET_ACCESS_KEY",
        }


def test_every_step_is_retried_in_its_pod_and_in_another_one(compiled_pipeline: Path) -> None:
    spec = yaml.safe_load(compiled_pipeline.read_text().split("---")[0])
    for name in ("tokenize", "train", "evaluate", "gate", "export"):
        command = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]["command"]
        assert command[:5] == ["python", "-m", "components.step_supervisor", name, "sh"]
    root = spec["root"]["dag"]["tasks"]
    released = spec["components"]["comp-condition-1"]["dag"]["tasks"]
    for name, task in {**root, **released}.items():
        if "condition" in name:
            continue
        policy = task["retryPolicy"]
        assert (policy["maxRetryCount"], policy["backoffDuration"]) == (2, "5s")
        # Argo retries nothing after this time, and ends a retried pod when it is over.
        assert int(policy["backoffMaxDuration"].rstrip("s")) > 2 * ClusterConfig().active_deadline


def test_steps_that_launch_workers_know_their_pod(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    spec = compile_to(path, "--set", "cluster.backend=jobset", "--set", "cluster.gpus=4")
    named = {"KUBERT_RUN", "KUBERT_POD_NAME", "KUBERT_POD_UID", "KUBERT_NAMESPACE"}
    fields = {
        name.removeprefix("exec-"): {field["name"] for field in executor["fieldPathAsEnv"]}
        for name, executor in read_platform_spec(path).items()
    }
    launchers = {name for name, names in fields.items() if names == named}
    assert launchers == {"train", "evaluate", "gate"}
    assert (
        "accelerator"
        not in spec["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]
    )


def test_workers_in_the_steps_own_pod_get_the_gpus_of_each(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    options = [
        "train.workers=2",
        "cluster.gpus=2",
        "cluster.node_selector={pool: gpu}",
        "cluster.tolerations=[{key: gpu, operator: Exists}]",
    ]
    spec = compile_to(path, *[part for option in options for part in ("--set", option)])
    assert (
        spec["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]["accelerator"][
            "resourceCount"
        ]
        == "4"
    )
    training = read_platform_spec(path)["exec-train"]
    assert training["nodeSelector"]["labels"] == {"pool": "gpu"}
    assert training["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert training["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    variables = {entry["name"]: entry["value"] for entry in read_containers(spec)["train"]["env"]}
    assert variables["NCCL_DEBUG"] == "WARN"


def test_the_data_of_a_scheduled_pipeline_end_at_its_scheduled_time(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    definition.compile_pipeline(path, scheduled=True)
    until = yaml.safe_load(path.read_text(encoding="utf-8"))["root"]["dag"]["tasks"]["tokenize"][
        "inputs"
    ]["parameters"]["end_time"]
    assert until == {"runtimeValue": {"constant": "{{$.pipeline_job_schedule_time_utc}}"}}


def test_a_configuration_becomes_the_parameters_defaults(tmp_path: Path) -> None:
    spec = compile_to(
        tmp_path / "pipeline.yaml", "ag_news_scratch", "--set", "train.precision=bfloat16"
    )
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["encoder"]["defaultValue"] == "scratch"
    assert parameters["source"]["defaultValue"] == "train.csv"
    assert parameters["train"]["defaultValue"] == '{"precision": "bfloat16"}'
