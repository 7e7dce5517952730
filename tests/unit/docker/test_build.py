"""What the build script builds and writes down, with a stand-in for podman."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VERSION = "1.2.3"
PODMAN = """#!/bin/bash
# The digest of an image is made of its name, tag and device.
case $1 in
  --version) echo "podman version 5.0" ;;
  build)
    for word; do case $word in DEVICE=*) device=${word#DEVICE=} ;; esac; done
    while [[ $1 != -t ]]; do shift; done
    echo "${2##*/} ${device:-}" >>built ;;
  save)
    while [[ $1 != -o ]]; do shift; done
    digest=$(printf %s "$3" | sha256sum | cut -c1-64)
    printf '{"manifests":[{"digest":"sha256:%s"}]}' "$digest" >index.json
    tar -cf "$2" index.json ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docker").mkdir()
    (tmp_path / "components").mkdir()
    shutil.copy(ROOT / "docker" / "build.sh", tmp_path / "docker")
    (tmp_path / "components" / "__init__.py").write_text(f'__version__ = "{VERSION}"\n')
    (tmp_path / "podman").write_text(PODMAN)
    (tmp_path / "podman").chmod(0o755)
    return tmp_path


def build(project: Path, **settings: str) -> dict[str, str]:
    """The lines of build/images.env."""
    environment = {
        "PATH": os.environ["PATH"],
        "CONTAINER_TOOL": str(project / "podman"),
        **settings,
    }
    subprocess.run(
        ["bash", "docker/build.sh"], cwd=project, env=environment, check=True, capture_output=True
    )
    lines = (project / "build" / "images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_one_build_for_gpus_makes_the_image_of_the_steps_too(project: Path) -> None:
    found = build(project, DEVICE="gpu")
    assert list(found) == ["KUBERT_TRAIN_IMAGE", "KUBERT_STEP_IMAGE", "KUBERT_TOOLS_IMAGE"]
    assert len(set(found.values())) == 3
    assert (project / "built").read_text().splitlines() == [
        f"kubert-train-python:{VERSION} cpu",
        f"kubert-train-python:{VERSION}-gpu gpu",
        f"kubert-tools-python:{VERSION} ",
    ]
    assert sorted(path.name for path in (project / "build").glob("*.tar")) == [
        "kubert-tools-python.tar",
        "kubert-train-python-gpu.tar",
        "kubert-train-python.tar",
    ]


def test_a_build_for_cpus_names_one_image_for_workers_and_steps(project: Path) -> None:
    found = build(project)
    assert found["KUBERT_TRAIN_IMAGE"] == found["KUBERT_STEP_IMAGE"]
    assert len((project / "built").read_text().splitlines()) == 2
