"""`kubert run` on a machine without the GPUs that the configuration asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


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
