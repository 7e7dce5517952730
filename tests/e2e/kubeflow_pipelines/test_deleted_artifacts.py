"""A run that meets a reused step whose artifact was deleted makes it again by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.storage.store import open_store
from pipeline.run_state import STEP_NAMES
from tests.support.real_kfp.server import KubertCommand
from tests.support.real_kfp.small_run import build_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RUN_TIMEOUT_SECONDS = 900.0
OTHER_EVALUATION = ("--set", "evaluate.explain_errors=0")
"""Needs the cached checkpoint, and is itself not in the cache."""


@pytest.fixture(scope="module")
def config(store_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose artifacts lie where the tests can delete them."""
    values = build_config(f"{store_uri}/healed", backend="local")
    values["cluster"]["pipeline_root"] = f"{store_uri}/root"
    path = tmp_path_factory.mktemp("config") / "healed.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def first_run(kubert: KubertCommand, config: Path) -> dict[str, Any]:
    """A run that released version 1."""
    return dict(kubert.read_json("submit", str(config), "--wait", timeout=RUN_TIMEOUT_SECONDS))


@pytest.fixture(scope="module")
def healed_run(
    kubert: KubertCommand, config: Path, first_run: dict[str, Any], store_uri: str
) -> Any:
    """The next run, after the artifacts of the train step were deleted: exit code, output."""
    root = open_store(f"{store_uri}/root")
    keys = [key for key in root.list() if "/train/" in key]
    assert keys, root.list()
    for key in keys:
        root.delete(key)
    return kubert.run(
        "submit", str(config), *OTHER_EVALUATION, "--wait", "--json", timeout=RUN_TIMEOUT_SECONDS
    )


def test_the_run_makes_all_steps_again(healed_run: Any) -> None:
    """Fault S7."""
    assert healed_run.returncode == 0, healed_run.stderr
    assert "the artifact of a reused step is gone: all steps run again" in healed_run.stderr


def test_later_runs_reuse_what_it_made(
    kubert: KubertCommand, config: Path, healed_run: Any
) -> None:
    again = kubert.read_json(
        "submit", str(config), *OTHER_EVALUATION, "--wait", timeout=RUN_TIMEOUT_SECONDS
    )
    shown = kubert.read_json("runs", "show", again["run"])
    reused = ("tokenize", "train", "evaluate")
    assert {step["step"]: step["status"] for step in shown["steps"]} == {
        step: "reused" if step in reused else "finished" for step in STEP_NAMES
    }
