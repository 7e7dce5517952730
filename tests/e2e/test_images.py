"""The images of `make images`, run as Kubernetes does: no root user, read-only, no network."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from components import __version__
from tests.support.stand_in_driver.compile_driver import compile_driver

TRAIN, TOOLS = (
    f"localhost/kubert-train-python:{__version__}",
    f"localhost/kubert-tools-python:{__version__}",
)
GPU = f"{TRAIN}-gpu"
DRIVER_DIRECTORY = "/usr/local/nvidia/lib64"
LIST_GPUS = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
both = pytest.mark.parametrize("image", [TRAIN, TOOLS], ids=["train", "tools"])
LIGHT = "import components.workers.local.launcher, components.train.step, components.serving.puller"
NO_TENSORFLOW = (
    "import importlib.util as u; "
    "assert not [n for n in ('tensorflow', 'numpy', 'pyarrow') if u.find_spec(n)]"
)
TRAINING = """
python -m components.tokenize_text --set model.encoder=scratch --output /tmp/shards
python -m components.train --set model.encoder=scratch --set train.epochs=1 \\
  --shards /tmp/shards --output /tmp/checkpoint --scratch /tmp/state
test -s /tmp/checkpoint/manifest.json
"""


def podman(*arguments):
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=540)


@pytest.fixture(scope="module", autouse=True)
def images():
    if not shutil.which("podman"):
        pytest.skip("podman is not there")
    for image in (TRAIN, TOOLS):
        if podman("image", "exists", image).returncode:
            pytest.skip(f"podman has no {image}; run: make images")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """The options that mount a stand-in for the driver as GKE mounts the real one."""
    if podman("image", "exists", GPU).returncode:
        pytest.skip(f"podman has no {GPU}; run: make images DEVICE=gpu")
    directory = compile_driver(tmp_path_factory.mktemp("driver"))
    return (f"--volume={directory}:{DRIVER_DIRECTORY}:ro",)


def run(image, *command, user="10001", options=()):
    done = podman(
        "run",
        "--rm",
        "--read-only",
        "--tmpfs=/tmp:size=2g",
        f"--user={user}",
        "--network=none",
        *options,
        image,
        *command,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def inspect(image):
    return json.loads(podman("image", "inspect", image).stdout)[0]


@both
def test_user_and_labels(image):
    config = inspect(image)["Config"]
    assert config["User"] == "10001:10001"
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in config["Labels"].items()
    }
    assert labels["version"] == __version__
    assert labels["licenses"] == "Apache-2.0"
    assert len(labels["revision"].removesuffix("-dirty")) == 40


@pytest.mark.parametrize(
    ("image", "megabytes"), [(TRAIN, 1800), (TOOLS, 300)], ids=["train", "tools"]
)
def test_size_unpacked(image, megabytes):
    assert inspect(image)["Size"] < megabytes * 1e6


@both
def test_no_program_changes_the_user(image):
    """Fault A9."""
    assert run(image, "find", "/", "-xdev", "-type", "f", "-perm", "/6000", user="0") == ""


@both
def test_nothing_of_the_build_is_left(image):
    """Fault A6. No secret, no pip setting, no cache: neither in files nor in the history."""
    left = (
        "for path in /locks /docker /layers /root/.cache /root/.config /etc/pip.conf.d; "
        "do test ! -e $path || echo $path; done"
    )
    assert run(image, "sh", "-c", left, user="0") == ""
    history = podman("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert "/run/secrets" not in history
    assert "://" not in history


@both
def test_it_runs_a_step_of_kfp(image):
    assert "--executor_input" in run(image, "python3", "-m", "kfp.dsl.executor_main", "--help")


def test_tools_start_without_tensorflow():
    run(TOOLS, "python", "-c", f"{LIGHT}; {NO_TENSORFLOW}")


def test_the_gpu_image_finds_the_driver_where_gke_mounts_it(driver):
    report = json.loads(run(GPU, "python", "-m", "components.gpu.driver", options=driver))
    assert report["library"].startswith(f"{DRIVER_DIRECTORY}/")
    assert len(report["devices"]) == 1
    without = json.loads(run(GPU, "python", "-m", "components.gpu.driver"))
    assert without["searched"][0] == DRIVER_DIRECTORY


def test_tensorflow_opens_all_of_its_cuda_libraries_in_the_gpu_image(driver):
    """TensorFlow lists no GPU if one of them is missing."""
    assert run(GPU, "python", "-c", LIST_GPUS, options=driver).splitlines()[-1] == "1"


@pytest.mark.slow
def test_train_trains_without_network():
    run(TRAIN, "sh", "-ec", TRAINING)


@pytest.mark.parametrize("name", ["train", "tools"])
def test_references_are_accepted_for_a_submit(name, monkeypatch):
    from components.config.cluster import ClusterConfig
    from pipeline import images as references

    lines = dict(line.split("=", 1) for line in Path("build/images.env").read_text().splitlines())
    for variable, value in lines.items():
        monkeypatch.setenv(variable, value)
    assert references.has_digest(
        getattr(references.resolve_images(ClusterConfig()), f"{name}_image")
    )
