from __future__ import annotations

from collections.abc import Mapping

import pytest

from components.gpu.driver import DriverReport, GpuDevice
from components.gpu.missing_gpus import find_cause, format_missing_gpus
from components.gpu.tensorflow_build import TensorFlowBuild

CUDA_BUILD = TensorFlowBuild(True, "12.5.1", ("sm_80", "compute_90"))
GPU = GpuDevice("NVIDIA L4", 24 * 2**30, (8, 9))
OLD_GPU = GpuDevice("Tesla M60", 8 * 2**30, (5, 2))
LOADED = DriverReport(library="/usr/lib64/libcuda.so.550.54.15", version="550.54.15")
NOT_FOUND = "libcuda.so.1: cannot open shared object file: No such file or directory"
ABSENT = DriverReport(error=NOT_FOUND, searched=("/usr/local/lib", "/lib"))


@pytest.mark.parametrize(
    ("build", "driver", "environment", "reason", "remedy"),
    [
        pytest.param(
            TensorFlowBuild(False),
            LOADED,
            {},
            "this TensorFlow is built for CPUs only",
            "use the GPU image",
            id="CPU build",
        ),
        pytest.param(
            CUDA_BUILD,
            ABSENT,
            {},
            "libcuda.so.1 was not found in /usr/local/lib, /lib (LD_LIBRARY_PATH: not set)",
            "EKS: use an AMI for NVIDIA GPUs",
            id="no driver",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport(
                error=NOT_FOUND, searched=("/lib",), other_directories=("/usr/local/nvidia/lib64",)
            ),
            {"LD_LIBRARY_PATH": "/opt/lib"},
            "(LD_LIBRARY_PATH: /opt/lib); it is in /usr/local/nvidia/lib64,",
            "set LD_LIBRARY_PATH=/usr/local/nvidia/lib64, in a cluster by cluster.environment",
            id="GKE's directory is not searched",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport(error="/x/libcuda.so.1: invalid ELF header", searched=("/x",)),
            {},
            "cannot be loaded: /x/libcuda.so.1: invalid ELF header",
            "NVIDIA Container Toolkit",
            id="damaged library",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport(library="/lib/libcuda.so.1", error="cuInit: CUDA_ERROR_NO_DEVICE"),
            {"CUDA_VISIBLE_DEVICES": "GPU-xyz"},
            "the driver shows none (CUDA_VISIBLE_DEVICES='GPU-xyz')",
            "unset CUDA_VISIBLE_DEVICES, or name GPUs in it that nvidia-smi -L lists, each once",
            id="all GPUs are hidden",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport(library="/lib/libcuda.so.1", error="cuInit: CUDA_ERROR_NO_DEVICE"),
            {"CUDA_VISIBLE_DEVICES": "0,0"},
            "(CUDA_VISIBLE_DEVICES='0,0'): CUDA_VISIBLE_DEVICES names 0 twice, which hides all",
            "each once",
            id="a GPU is named twice",
        ),
        pytest.param(
            TensorFlowBuild(False),
            DriverReport(library="/lib/libcuda.so.1", error="cuInit: CUDA_ERROR_SYSTEM"),
            {},
            "the driver (/lib/libcuda.so.1) does not work: cuInit: CUDA_ERROR_SYSTEM",
            "run nvidia-smi on the node",
            id="a broken driver comes before the build",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport(library="/lib/libcuda.so.1", error="cuInit: CUDA_ERROR_NO_DEVICE"),
            {"NVIDIA_VISIBLE_DEVICES": "void"},
            "does not work: cuInit: CUDA_ERROR_NO_DEVICE (NVIDIA_VISIBLE_DEVICES='void')",
            "run nvidia-smi on the node",
            id="cuInit fails",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport(error="the driver did not answer within 60 s"),
            {},
            "did not answer",
            "run nvidia-smi on the node",
            id="driver hangs",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport(library="/lib/libcuda.so.1", cuda_version="12.4", devices=(GPU,)),
            {"CUDA_VISIBLE_DEVICES": "1"},
            "the driver shows 1 (CUDA_VISIBLE_DEVICES='1')",
            "lower cluster.gpus",
            id="fewer than asked for",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport("/lib/libcuda.so.1", "470.1", "11.4", devices=(GPU, GPU)),
            {},
            "the driver (470.1) supports CUDA up to 11.4, TensorFlow is built for 12.5.1",
            "install a newer driver",
            id="old driver",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport("/lib/libcuda.so.1", "550.1", "12.4", devices=(GPU, OLD_GPU)),
            {},
            "has no kernels for Tesla M60 (compute capability 5.2); it was built for sm_80,",
            "use newer GPUs",
            id="old GPU",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport("/lib/libcuda.so.1", "550.1", "12.4", devices=(GPU, GPU)),
            {},
            "the driver shows 2, TensorFlow does not take them",
            "a CUDA library is missing",
            id="TensorFlow's own libraries",
        ),
    ],
)
def test_the_reason_and_the_remedy_are_those_of_what_is_wrong(
    build: TensorFlowBuild,
    driver: DriverReport,
    environment: Mapping[str, str],
    reason: str,
    remedy: str,
) -> None:
    cause = find_cause(2, build, driver, environment)
    assert reason in cause.reason
    assert remedy in cause.remedy
    message = format_missing_gpus("a worker needs", 2, 1, cause)
    assert message.startswith(
        "a worker needs 2 GPUs (cluster.gpus), TensorFlow sees 1, 1 missing: "
    )
    assert message.splitlines()[1] == f"what to do: {cause.remedy}"
