from __future__ import annotations

import pytest

from components.gpu.tensorflow_build import (
    KernelSupport,
    TensorFlowBuild,
    find_kernel_support,
    parse_build_info,
    read_tensorflow_build,
)

CAPABILITIES = ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")
"""Those of TensorFlow 2.20's build for CUDA."""


@pytest.mark.parametrize(
    ("capabilities", "gpu", "wanted"),
    [
        pytest.param(CAPABILITIES, (8, 0), "built in", id="A100: its own binary code"),
        pytest.param(CAPABILITIES, (8, 6), "built in", id="A10: that of 8.0"),
        pytest.param(CAPABILITIES, (7, 5), "built in", id="T4: that of 7.0"),
        pytest.param(CAPABILITIES, (9, 0), "built in", id="H100: compute_90 has binary code"),
        pytest.param(CAPABILITIES, (10, 0), "compiled at start", id="B200"),
        pytest.param(CAPABILITIES, (12, 0), "compiled at start", id="RTX 5090"),
        pytest.param(CAPABILITIES, (5, 2), "none", id="older than all"),
        pytest.param(("sm_80", "sm_90"), (12, 0), "none", id="no PTX"),
        pytest.param(("sm_86",), (8, 0), "none", id="lower minor capability"),
        pytest.param(("8.0",), (8, 9), "built in", id="number: binary code"),
        pytest.param(("8.0",), (9, 0), "compiled at start", id="number: PTX"),
        pytest.param(("sm_90a",), (9, 0), "built in", id="letter: this one"),
        pytest.param(("sm_100a",), (10, 3), "none", id="letter: no other one"),
        pytest.param(("sm_100",), (10, 3), "built in", id="three digits"),
        pytest.param((), (8, 0), "none", id="a build for CPUs"),
    ],
)
def test_kernels_are_found_by_nvidias_rules_of_compatibility(
    capabilities: tuple[str, ...], gpu: tuple[int, int], wanted: KernelSupport
) -> None:
    assert find_kernel_support(capabilities, gpu) == wanted


def test_the_build_is_read_as_tensorflow_writes_it() -> None:
    text = (
        "import collections\n\n"
        "build_info = collections.OrderedDict([('cpu_compiler', '/usr/bin/clang'), "
        "('cuda_compute_capabilities', ['sm_60', 'compute_90']), ('cuda_version', '12.5.1'), "
        "('cudnn_version', '9'), "
        "('is_cuda_build', True), ('is_rocm_build', False)])\n"
    )
    assert parse_build_info(text) == TensorFlowBuild(True, "12.5.1", ("sm_60", "compute_90"), "9")
    with pytest.raises(ValueError, match="build_info"):
        parse_build_info("x = 1\n")


def test_the_file_agrees_with_the_installed_tensorflow() -> None:
    import tensorflow as tf

    info = tf.sysconfig.get_build_info()
    assert read_tensorflow_build() == TensorFlowBuild(
        info["is_cuda_build"],
        info.get("cuda_version", ""),
        tuple(info.get("cuda_compute_capabilities", ())),
    )
