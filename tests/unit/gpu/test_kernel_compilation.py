from __future__ import annotations

import pytest

from components.gpu.driver import GpuDevice
from components.gpu.kernel_compilation import (
    StepLimits,
    choose_cache_variables,
    choose_step_limits,
    describe_compilation,
)

CAPABILITIES = ("sm_80", "compute_90")
L4, B200 = GpuDevice("NVIDIA L4", 2**34, (8, 9)), GpuDevice("NVIDIA B200", 2**37, (10, 0))


def test_gpus_without_kernels_are_named_with_what_happens_and_what_to_use() -> None:
    text = describe_compilation(CAPABILITIES, [L4, B200, B200])
    assert text.startswith(
        "this TensorFlow has no kernels for NVIDIA B200 (compute capability 10.0), only for sm_80, "
        "compute_90: the driver compiles them, which may take 30 minutes or longer"
    )
    assert "a step may take 7200 s" in text and "9.0 or lower" in text
    assert describe_compilation(CAPABILITIES, [L4]) == ""
    assert describe_compilation((), []) == ""


def test_only_compilation_raises_the_limits_of_a_step() -> None:
    assert choose_step_limits(300, 600, compiles_kernels=False) == StepLimits(300, 600)
    assert choose_step_limits(300, 600, compiles_kernels=True) == StepLimits(7200, 7200)
    assert choose_step_limits(9000, 600, compiles_kernels=True) == StepLimits(9000, 7200)


@pytest.mark.parametrize(
    ("environment", "state", "wanted"),
    [
        pytest.param(
            {},
            "/mnt/kubert-state/0f3a",
            {
                "CUDA_CACHE_MAXSIZE": "4294967296",
                "CUDA_CACHE_PATH": "/mnt/kubert-state/cuda-cache/worker-3",
            },
            id="volume",
        ),
        pytest.param({}, "gs://bucket/0f3a", {"CUDA_CACHE_MAXSIZE": "4294967296"}, id="no volume"),
        pytest.param(
            {"CUDA_CACHE_PATH": "/x", "CUDA_CACHE_MAXSIZE": "1"},
            "/mnt/kubert-state/0f3a",
            {},
            id="the user's own",
        ),
    ],
)
def test_compiled_kernels_are_kept_where_a_restart_finds_them(
    environment: dict[str, str], state: str, wanted: dict[str, str]
) -> None:
    assert choose_cache_variables(environment, state, 3) == wanted
