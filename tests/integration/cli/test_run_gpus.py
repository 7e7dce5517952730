"""`kubert run` on machines without the GPUs that the configuration asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import HardwareError
from components.gpu.tensorflow_build import TensorFlowBuild
from pipeline.cli.commands.run import run_pipeline
from tests.support.stand_in_driver.compile_driver import compile_driver


def test_missing_gpus_end_a_run_before_its_first_step(tmp_path: Path) -> None:
    workdir = tmp_path / "work"
    command = [sys.executable, "-m", "pipeline.cli", "run", "--set", "cluster.gpus=1"]
    ended = subprocess.run(
        [*command, "--workdir", str(workdir)], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 2
    assert "the training needs 1 GPU (cluster.gpus), TensorFlow sees 0" in ended.stderr
    assert "what to do: use the GPU image" in ended.stderr
    assert "tokenize" not in ended.stdout
    assert not list(workdir.rglob("*.log"))


def test_two_workers_do_not_share_the_gpus_that_each_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda_build = TensorFlowBuild(True, "12.5.1", ("sm_80",))
    monkeypatch.setattr("components.gpu.local_gpus.read_tensorflow_build", lambda: cuda_build)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(compile_driver(tmp_path / "driver")))
    monkeypatch.setenv("STAND_IN_GPUS", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workdir = tmp_path / "work"
    with pytest.raises(HardwareError) as caught:
        run_pipeline(assignments=["cluster.gpus=2", "train.workers=2"], workdir=workdir)
    assert str(caught.value).startswith(
        "the training needs 4 GPUs (cluster.gpus=2, 2 workers), TensorFlow sees 2, 2 missing: "
        "the driver shows 2\nwhat to do: "
    )
    assert not list(workdir.rglob("*.log"))
