"""The examples for clusters: checked, compiled, planned, and rendered, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config.loading import load_config
from components.config.schema import Config
from components.train.job import Job
from components.train.step import build_worker_group
from components.workers.kubernetes.jobset_manifest import (
    LauncherPod,
    parse_cpu_quantity,
    render_jobset,
)
from pipeline.doctor import machine_checks
from tests.support import manifests
from tests.support.fake_kfp.clients import IMAGES, run_command
from tests.support.fake_kfp.server import FakeServer

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
JOBSETS = ["05-kind-jobset.yaml", "06-gke-gpu.yaml", "08-eks-gpu.yaml"]
SCHEDULE = "07-nightly-schedule.yaml"
OVERLAYS = dict(zip(JOBSETS, ("kind", "gke", "eks"), strict=True))
WITH_DIGESTS = [
    part for name, image in IMAGES.items() for part in ("--set", f"cluster.{name}={image}")
]
IMAGE_FLAGS = {name: ["--allow-tags"] if "kind" in name else WITH_DIGESTS for name in JOBSETS}


def render_example(config: Config) -> dict[str, Any]:
    """The JobSet of the training step, as its launcher creates it."""
    job = Job(model=config.model, train=config.train, shards="gs://b/shards", state="gs://b/state")
    cluster = config.cluster.model_copy(update={"train_image": IMAGES["train_image"]})
    launcher = LauncherPod(namespace=config.cluster.namespace)
    return render_jobset(build_worker_group(job), "gs://b/job.json", cluster, launcher)


def pod_template(jobset: dict[str, Any]) -> dict[str, Any]:
    (job,) = jobset["spec"]["replicatedJobs"]
    spec: dict[str, Any] = job["template"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("name", [*JOBSETS, SCHEDULE])
def test_it_compiles_with_its_values_as_the_pipeline_s_defaults(name: str, tmp_path: Path) -> None:
    package = tmp_path / "pipeline.yaml"
    result = run_command("compile", str(EXAMPLES / name), "-o", str(package))
    assert (result.returncode, result.stderr) == (0, "")
    spec = next(yaml.safe_load_all(package.read_text()))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    config = load_config(EXAMPLES / name)
    assert parameters["workers"]["defaultValue"] == config.train.workers
    assert parameters["model_store"]["defaultValue"] == config.export.model_store
    cluster = json.loads(parameters["cluster"]["defaultValue"])
    assert cluster["checkpoint_uri"] == config.cluster.checkpoint_uri
    assert cluster.get("backend", "local") == config.cluster.backend


@pytest.mark.parametrize("name", JOBSETS)
def test_a_dry_run_plans_one_run_and_changes_nothing_on_the_server(
    name: str, server: FakeServer
) -> None:
    arguments = [str(EXAMPLES / name), "--endpoint", server.url, *IMAGE_FLAGS[name]]
    result = run_command("submit", *arguments, "--dry-run", "--json", KUBERT_AUTH="none")
    assert result.returncode == 0, result.stderr
    plan, config = json.loads(result.stdout), load_config(EXAMPLES / name)
    assert plan["namespace"] == config.cluster.namespace
    assert plan["run"]["service_account"] == config.cluster.service_account
    runtime = plan["run"]["runtime_config"]
    assert runtime["pipeline_root"] == config.cluster.pipeline_root
    assert runtime["parameters"]["workers"] == 2
    assert json.loads(runtime["parameters"]["cluster"])["backend"] == "jobset"
    assert server.log and all(line.startswith("GET") for line in server.log)


@pytest.mark.parametrize("name", JOBSETS)
def test_images_without_a_digest_need_a_flag(name: str) -> None:
    result = run_command("submit", str(EXAMPLES / name), "--endpoint", "http://127.0.0.1:9")
    assert result.returncode == 2
    assert "--allow-tags" in result.stderr


@pytest.mark.parametrize("name", JOBSETS)
def test_the_jobset_has_the_workers_and_resources_of_the_example(name: str) -> None:
    config = load_config(EXAMPLES / name)
    jobset = render_example(config)
    cluster = config.cluster
    (job,) = jobset["spec"]["replicatedJobs"]
    assert job["template"]["spec"]["parallelism"] == config.train.workers == 2
    pod = pod_template(jobset)
    assert pod.get("nodeSelector", {}) == cluster.node_selector
    assert pod.get("tolerations", []) == [*cluster.tolerations]
    assert pod["priorityClassName"] == cluster.priority_class
    assert manifests.one("PriorityClass", str(cluster.priority_class))
    (container,) = pod["containers"]
    requests = container["resources"]["requests"]
    assert (requests["cpu"], requests["memory"]) == (cluster.cpu, cluster.memory)
    assert requests.get("nvidia.com/gpu") == (str(cluster.gpus) if cluster.gpus else None)
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert cluster.environment.items() <= environment.items()


@pytest.mark.parametrize("name", JOBSETS)
def test_its_locations_are_those_of_the_overlay(name: str) -> None:
    config, settings = load_config(EXAMPLES / name), manifests.settings(OVERLAYS[name])
    assert config.cluster.checkpoint_uri == settings["KUBERT_STATE"]
    model = f"{config.export.model_store}/{config.export.model_name}"
    assert model == settings["KUBERT_MODEL"]
    shared = settings.keys() & {"STORAGE_EMULATOR_HOST", "AWS_REGION"}
    assert {variable: config.cluster.environment[variable] for variable in shared} == {
        variable: settings[variable] for variable in shared
    }


def test_the_kind_example_fits_the_quota_and_can_reach_kubeflow_s_store() -> None:
    config = load_config(EXAMPLES / "05-kind-jobset.yaml")
    patches = yaml.safe_load_all(
        (manifests.ROOT / "overlays/kind/patch-small-resources.yaml").read_text()
    )
    hard = next(each for each in patches if each["kind"] == "ResourceQuota")["spec"]["hard"]
    cpus = config.train.workers * parse_cpu_quantity(config.cluster.cpu)
    assert cpus + 2 * parse_cpu_quantity(config.cluster.step_cpu) < float(hard["requests.cpu"])
    memory = config.train.workers * int(config.cluster.memory.removesuffix("Gi"))
    steps = 2 * int(config.cluster.step_memory.removesuffix("Gi"))
    assert memory + steps < int(hard["requests.memory"].removesuffix("Gi"))
    role = manifests.one("Role", "kubert-kubeflow-storage")
    assert role["rules"][0]["resourceNames"] == [config.cluster.storage_secret]
    overlay = (manifests.ROOT / "overlays/kind/kustomization.yaml").read_text()
    assert "../../kubeflow-storage" in overlay


@pytest.mark.parametrize("name", JOBSETS)
def test_doctor_finds_the_data_and_the_encoder(name: str, tmp_path: Path) -> None:
    finding = machine_checks.check_data_and_encoder(load_config(EXAMPLES / name), tmp_path)
    assert finding.state == "ok", finding.message


def test_doctor_needs_a_time_for_the_schedule_and_says_so(tmp_path: Path) -> None:
    finding = machine_checks.check_data_and_encoder(load_config(EXAMPLES / SCHEDULE), tmp_path)
    assert finding.state == "missing" and "data.end_time" in finding.message
    given = load_config(EXAMPLES / SCHEDULE, ["data.end_time=2026-10-14"])
    assert machine_checks.check_data_and_encoder(given, tmp_path).state == "ok"


def test_the_schedule_runs_every_night_with_the_data_up_to_its_time(server: FakeServer) -> None:
    arguments = [str(EXAMPLES / SCHEDULE), "--endpoint", server.url, *WITH_DIGESTS]
    result = run_command("schedule", "apply", *arguments, "--dry-run", KUBERT_AUTH="none")
    assert result.returncode == 0, result.stderr
    plan = yaml.safe_load(result.stdout)
    assert plan["would"] == "create"
    assert [time[11:] for time in plan["slots"]] == ["02:30+00:00"] * 5
    schedule = plan["schedule"]
    assert schedule["display_name"] == "support-nightly"
    assert (schedule["max_concurrency"], schedule["no_catchup"]) == ("1", False)
    parameters = schedule["runtime_config"]["parameters"]
    assert parameters["source"] == "gs://project-id-kubert/tickets/{date}.csv"
    assert json.loads(parameters["data"])["window"] == "26w"
    assert parameters["end_time"] == "", "each run takes its scheduled time"
    assert all(line.startswith("GET") for line in server.log)
