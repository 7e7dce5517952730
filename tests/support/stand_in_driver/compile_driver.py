"""Compiles the stand-in for NVIDIA's driver library, so that tests need no GPU."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("libcuda.c")
VERSION = "550.54.15"


def compile_driver(directory: Path) -> Path:
    """The library as libcuda.so.1 in `directory`, a link as real ones are; skips without gcc."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc), to build the stand-in for the GPU driver")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"libcuda.so.{VERSION}"
    options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *options, "-o", str(file), str(SOURCE)], check=True)
    (directory / "libcuda.so.1").symlink_to(file.name)
    return directory
