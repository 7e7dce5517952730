"""The command `kubert models`, on a store of real releases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components import registry
from components.artifacts import manifest
from components.artifacts.release import open_release
from components.storage.store import open_store
from tests.support.releases.release_directories import CONTENT, release_directory


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three versions of `news`, the first without provenance, and one of `sports`."""
    store = open_store(str(tmp_path / "models"))
    for number, marker in enumerate(("a", "b", "c")):
        source = release_directory(tmp_path / marker, marker)
        if number:
            content = CONTENT.model_copy(update={"accuracy": 0.5 + number / 100}).model_dump(
                mode="json"
            )
            provenance = {
                "released": f"2026-01-0{number}T00:00:00+00:00",
                "run": f"run-{number}-0123456789",
            }
            manifest.commit(
                source,
                "release",
                content=content,
                inputs={"data": str(number) * 64},
                provenance=provenance,
            )
        registry.publish(open_release(source), store, "news", marker)
    registry.publish(open_release(release_directory(tmp_path / "d", "d")), store, "sports", "d")
    return tmp_path / "models"


def run_models(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "models", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_versions_are_listed_newest_first(models: Path) -> None:
    listed = run_models("list", models / "news")
    assert listed.returncode == 0, listed.stderr
    assert [line.split("\t") for line in listed.stdout.splitlines()] == [
        ["version", "champion", "released", "accuracy", "encoder", "run", "data"],
        [
            "3",
            "*",
            "2026-01-02T00:00:00+00:00",
            "0.5200 (0.4000-0.6000)",
            "scratch",
            "run-2-012345",
            "2" * 12,
        ],
        [
            "2",
            "",
            "2026-01-01T00:00:00+00:00",
            "0.5100 (0.4000-0.6000)",
            "scratch",
            "run-1-012345",
            "1" * 12,
        ],
        ["1", "", "-", "0.5000 (0.4000-0.6000)", "scratch", "-", "-"],
    ]
    rows = json.loads(run_models("list", models / "news", "--json").stdout)
    assert [(row["version"], row["champion"], row["run"], row["data"]) for row in rows] == [
        (3, True, "run-2-0123456789", "2" * 64),
        (2, False, "run-1-0123456789", "1" * 64),
        (1, False, None, None),
    ]


def test_models_of_a_store_are_listed_with_their_champion(models: Path) -> None:
    rows = json.loads(run_models("list", models, "--json").stdout)
    assert [(row["name"], row["versions"], row["served"]) for row in rows] == [
        ("news", 3, 3),
        ("sports", 1, 1),
    ]


def test_a_damaged_version_hides_no_other(models: Path) -> None:
    (models / "news/2/manifest.json").write_text("{}")
    rows = json.loads(run_models("list", models / "news", "--json").stdout)
    assert [row["version"] for row in rows] == [3, 2, 1]
    assert "not a valid manifest" in rows[1]["problem"]
    assert "not a valid manifest" in run_models("show", f"{models}/news@2").stderr


def test_show_prints_all_metadata_of_a_version(models: Path) -> None:
    result = json.loads(run_models("show", f"{models}/news@2", "--json").stdout)
    assert (
        result["champion"],
        result["files"],
        result["content"]["accuracy"],
        result["inputs"],
    ) == (
        False,
        4,
        0.51,
        {"data": "1" * 64},
    )
    lines = dict(
        line.split(maxsplit=1) for line in run_models("show", models / "news").stdout.splitlines()
    )
    assert (lines["content.version"], lines["champion"], lines["provenance.run"]) == (
        "3",
        "True",
        "run-2-0123456789",
    )
    assert lines["content.classes"] == "no, yes"


def test_rollback_prints_the_command_that_undoes_it(models: Path) -> None:
    back = run_models("rollback", models / "news")
    assert (back.returncode, registry.find_champion(open_store(str(models)), "news")) == (0, 2)
    assert back.stdout.startswith("news: version 2 is the champion now (before: 3)")
    undo = back.stdout.splitlines()[-1].removeprefix("To undo: kubert models ")
    assert run_models(*undo.split()).returncode == 0
    assert registry.find_champion(open_store(str(models)), "news") == 3
    result = json.loads(run_models("rollback", models / "news", "--to", 1, "--json").stdout)
    assert (result["champion"], result["before"]) == (1, 3)
    assert "is the champion already" in run_models("rollback", models / "news", "--to", 1).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "{models}/nothing"], "nothing is released here"),
        (["list", "{models}/news@1"], "this is one version"),
        (["show", "{models}/news@9"], "no version 9; complete versions: 1, 2, 3"),
        (["show", "{models}/none"], "nothing is released under this name"),
        (["rollback", "{models}/news@1"], "give the model alone, and the version as --to 1"),
        (["rollback", "{models}/news", "--to", "9"], "has no version 9; complete ones: 1, 2, 3"),
        (["rollback", "{models}/sports"], "version 1 is the oldest"),
        (["rollback", "{models}/none"], "nothing is released under this name"),
        (["list", "ftp://x/y"], "unknown scheme"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_user_errors_are_reported(arguments: list[str], message: str, models: Path) -> None:
    result = run_models(*(argument.format(models=models) for argument in arguments))
    assert result.returncode == 2, result.stdout
    assert message in result.stderr
    assert "Traceback" not in result.stderr
