"""Images get the versions that the tests ran with."""

import re
from pathlib import Path

import pytest

# What TensorFlow 2.20 opens to use a GPU, and the compiler with libdevice for XLA.
OPENED_LIBRARIES = (
    "cuda-runtime",
    "cuda-cupti",
    "cuda-nvcc",
    "cublas",
    "cudnn",
    "cufft",
    "cusolver",
    "cusparse",
)
LOCKS = Path(__file__).parents[3] / "locks"


def pins(name):
    return dict(
        re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (LOCKS / f"{name}.txt").read_text(), re.MULTILINE)
    )


@pytest.mark.parametrize("name", ["train", "tools", "executor"])
def test_pins_are_those_of_the_development_environment(name):
    tested = pins("dev")
    assert {
        package: version
        for package, version in pins(name).items()
        if tested.get(package) != version
    } == {}


def test_gpu_differs_from_cpu_by_the_build_of_tensorflow_and_nvidias_libraries():
    cpu, gpu = pins("train"), pins("train-gpu")
    assert gpu.pop("tensorflow") == cpu.pop("tensorflow-cpu")
    assert all(name.startswith("nvidia-") for name in gpu.keys() - cpu.keys())
    assert {name: gpu[name] for name in cpu} == cpu


def test_gpu_is_without_the_nccl_that_tensorflow_has_inside():
    gpu = pins("train-gpu")
    assert "nvidia-nccl-cu12" not in gpu
    assert {f"nvidia-{name}-cu12" for name in OPENED_LIBRARIES} <= gpu.keys()


@pytest.mark.parametrize("package", ["tensorflow", "tensorflow-cpu", "numpy", "pyarrow"])
def test_tools_are_without(package):
    assert package not in pins("tools")
