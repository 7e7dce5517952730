"""The tools image has every module of kubert that its programs import; all others are left out."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAMS = (
    "components.step_runtime",
    "components.step_supervisor",
    "components.train.step",
    "components.workers.kubernetes.launcher",
    "components.serving.puller",
    "components.serving.tensorboard_sync",
)
"""What the launcher's pod and the sidecars run."""
BLOCKED = ("numpy", "pyarrow", "tensorflow")
"""Packages that the venv of the tests has, and the image has not."""
IMPORT_ALL = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
import {", ".join(PROGRAMS)}
"""


def copy_modules(target: Path) -> None:
    """Copy what the Dockerfile copies of `components`."""
    text = (ROOT / "docker" / "tools.Dockerfile").read_text(encoding="utf-8")
    sources = re.findall(r"^COPY (components\S*) ", text, flags=re.M)
    assert sources
    for source in sources:
        for path in ROOT.glob(source):
            copied = target / path.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copied)


def test_the_programs_of_the_image_find_all_modules_that_they_import(tmp_path: Path) -> None:
    copy_modules(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
