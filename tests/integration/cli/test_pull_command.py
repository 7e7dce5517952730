"""The command `kubert pull`; the puller itself is tested in tests/unit/serving and tests/faults."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components import registry
from components.artifacts.release import open_release
from components.storage.store import open_store
from tests.support.releases.release_directories import markers, release_directory

KUBERT = [sys.executable, "-m", "pipeline.cli", "pull"]


@pytest.fixture
def model(tmp_path: Path) -> str:
    for marker in ("a", "b"):
        registry.publish(
            open_release(release_directory(tmp_path / marker, marker)),
            open_store(str(tmp_path / "models")),
            "news",
            marker,
        )
    return f"{tmp_path}/models/news"


def run_pull(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KUBERT, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_champion_or_a_version_in_both_notations_is_pulled(model: str, tmp_path: Path) -> None:
    pulled = run_pull(model, "--to", tmp_path / "x")
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert (
        pulled.stdout.splitlines()[-1] == f"news version 2 is at {tmp_path / 'x' / '2'}, verified"
    )
    for reference in (f"{model}@1", f"{model}/1"):
        assert run_pull(reference, "--to", tmp_path / "y").returncode == 0
    assert markers(tmp_path / "y" / "1") == {"a"}


def test_json_prints_the_result(model: str, tmp_path: Path) -> None:
    result = json.loads(run_pull(model, "--to", tmp_path / "x", "--json").stdout)
    assert (result["name"], result["version"], result["directory"]) == (
        "news",
        2,
        str(tmp_path / "x" / "2"),
    )
    assert result["sha256"] == open_release(tmp_path / "x" / "2").manifest.digest


def test_watching_exits_with_0_on_sigterm(model: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*KUBERT, model, "--to", str(tmp_path / "x"), "--watch", "0.1"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "fetching version 2" in process.stderr.readline()
        line = process.stderr.readline()
        assert line.endswith(": news: serving version 2 (accuracy 0.5000)\n")
        process.send_signal(signal.SIGTERM)
        assert ": stopped; version 2 stays" in process.stderr.readline()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}@7"], "no version 7; complete versions: 1, 2"),
        (["{model}@x"], "@<version> with a whole number"),
        (["{model}", "--watch", "1", "--json"], "use only one"),
        (["{model}@1", "--watch", "1"], "version 1 never changes"),
    ],
    ids=["version", "no-number", "json", "pinned"],
)
def test_user_errors_are_reported(
    arguments: list[str], message: str, model: str, tmp_path: Path
) -> None:
    result = run_pull(
        *(argument.format(model=model) for argument in arguments), "--to", tmp_path / "x"
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
