"""What the installed TensorFlow was built for: CUDA or not, and which GPUs it has kernels for.

Read from the file of the package that `tf.sysconfig.get_build_info` reads, because importing
TensorFlow takes seconds, and launchers and the command line never do.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BUILD_INFO_FILE = Path("python", "platform", "build_info.py")
KernelSupport = Literal["built in", "compiled at start", "none"]


@dataclass(frozen=True)
class TensorFlowBuild:
    """`capabilities` are the build's architectures, such as sm_80 and compute_90."""

    is_cuda: bool
    cuda_version: str = ""
    capabilities: tuple[str, ...] = ()
    cudnn_version: str = ""


def read_tensorflow_build() -> TensorFlowBuild | None:
    """The installed TensorFlow's build; None if there is none, or if it does not describe it."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / BUILD_INFO_FILE).read_text(encoding="utf-8")
        return parse_build_info(text)
    except (OSError, ValueError, SyntaxError):
        return None


def parse_build_info(text: str) -> TensorFlowBuild:
    """Read the one assignment of build_info.py; ValueError if it is not of the known form."""
    for node in ast.parse(text).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="build_info")], value=ast.Call(args=[pairs])):
                values = dict(ast.literal_eval(pairs))
                return TensorFlowBuild(
                    bool(values.get("is_cuda_build")),
                    str(values.get("cuda_version", "")),
                    tuple(map(str, values.get("cuda_compute_capabilities", ()))),
                    str(values.get("cudnn_version", "")),
                )
            case _:
                pass
    raise ValueError("no assignment to build_info")


def find_kernel_support(
    capabilities: Iterable[str], compute_capability: tuple[int, int]
) -> KernelSupport:
    """Whether a build for these architectures has kernels for a GPU.

    NVIDIA's rules of compatibility: binary code (sm_80) runs on GPUs of the same major capability
    and an equal or higher minor one; PTX can be compiled for every equal or higher capability. In
    TensorFlow's builds compute_90 and 9.0 stand for binary code and PTX, sm_90 for binary code, and
    a letter at the end (sm_90a) for exactly this capability.
    """
    can_compile = False
    for name in capabilities:
        number = name.rpartition("_")[2].replace(".", "")
        is_exact = number[-1:].isalpha()
        built = int(number.rstrip("abcdefghijklmnopqrstuvwxyz"))
        major, minor = divmod(built, 10)
        is_same = compute_capability == (major, minor)
        if is_same or (
            not is_exact and compute_capability[0] == major and compute_capability[1] >= minor
        ):
            return "built in"
        has_ptx = not name.startswith("sm_") and not is_exact
        can_compile |= has_ptx and compute_capability > (major, minor)
    return "compiled at start" if can_compile else "none"
