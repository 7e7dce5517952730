"""The `kubert` command line: fast help, plain messages and exit codes, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components import __version__
from pipeline import presets


def run_kubert(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONSAFEPATH": "1", **environment},
        timeout=120,
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, pipeline.cli.main; "
        "heavy = {'tensorflow', 'kfp', 'pyarrow', 'numpy', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


def test_version_prints_the_name_and_version() -> None:
    assert run_kubert("--version").stdout == f"kubert {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["run", "nope"], "nope: neither a file nor a shipped configuration", id="unknown-config"
        ),
        pytest.param(
            ["run", "--set", "train.epochs=0"],
            "train.epochs: Input should be greater than or equal to 1 (given: 0)",
            id="impossible-value",
        ),
        pytest.param(
            ["run", "--set", "train.epoch=1"], "train.epoch: no such option", id="unknown-option"
        ),
        pytest.param(
            ["run", "--set", "train.class_weights.spam=8"],
            "one option, with its entries in braces: --set 'train.class_weights={spam: ...}'",
            id="entry-of-an-option",
        ),
        pytest.param(
            ["run", "--set", "evaluate.minimum.recall[spam]=0.9"],
            """--set 'evaluate.minimum={"recall[spam]": ...}'""",
            id="quoted-entry-of-an-option",
        ),
        pytest.param(
            ["run", "--set", "train.epochs.x=3"], "no such option", id="entry-of-a-number"
        ),
        pytest.param(
            ["run", "--set", "cluster.tolerations.x=3"], "no such option", id="entry-of-a-list"
        ),
        pytest.param(["run", "--set", "epochs"], "write section.option=value", id="malformed-set"),
        pytest.param(
            ["run", "--set", "data.source=nope.csv"], "nope.csv does not exist", id="missing-file"
        ),
        pytest.param(
            ["run", "--set", "train.batch_size=1", "--set", "train.workers=2"],
            "batch_size 1 is smaller than workers 2",
            id="batch-smaller-than-workers",
        ),
        pytest.param(
            ["run", "--set", "data.source='{{workflow.name}}'"],
            "does not exist",
            id="template-in-a-path",
        ),
        pytest.param(
            ["run", "--workdir", "/proc/1/nope"],
            "choose a directory you can write to",
            id="unwritable-workdir",
        ),
        pytest.param(["run", "--nope"], "No such option", id="unknown-flag"),
        pytest.param(["nope"], "No such command", id="unknown-command"),
        pytest.param(["config", "nope"], "quickstart, ag_news", id="config-lists-names"),
        pytest.param(
            ["compile", "-o", "nope/pipeline.yaml"], "directory that exists", id="compile-nowhere"
        ),
        pytest.param(["predict", "nope", "text"], "nope", id="no-release"),
        pytest.param(
            ["run", "--set", "data.text=nope"], "kubert: sample: no column 'nope'", id="no-column"
        ),
        pytest.param(
            ["predict", "news", "a text", sys.executable],
            f"kubert predict news - < {sys.executable}",
            id="predict-a-file",
        ),
    ],
)
def test_a_user_error_exits_with_2_and_a_remedy(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = run_kubert(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert len(result.stderr.splitlines()) < 15


def test_an_unexpected_error_exits_with_1_and_writes_its_traceback_to_a_file(
    tmp_path: Path,
) -> None:
    code = (
        "import pipeline.cli.main as cli, pipeline.presets as presets; "
        "presets.find_preset = lambda name: 1 / 0; cli.main(['config'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (log,) = tmp_path.glob("kubert-error-*.log")
    assert str(log) in result.stderr
    assert "ZeroDivisionError" in log.read_text()


@pytest.mark.parametrize("name", [None, *presets.list_presets()])
def test_config_prints_a_file_that_loads_back_equal(name: str | None, tmp_path: Path) -> None:
    from components.config.loading import load_config

    result = run_kubert("config", *([name] if name else []))
    path = tmp_path / "config.yaml"
    path.write_text(result.stdout)
    assert load_config(path) == load_config(presets.find_preset(name or "quickstart"))
    assert all(other in result.stdout for other in presets.list_presets())


def test_compile_writes_a_pipeline(tmp_path: Path) -> None:
    result = run_kubert("compile", "--set", "train.epochs=7", "-o", "mine.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "wrote mine.yaml\n")
    spec = next(yaml.safe_load_all((tmp_path / "mine.yaml").read_text()))
    assert spec["root"]["inputDefinitions"]["parameters"]["epochs"]["defaultValue"] == 7


@pytest.mark.parametrize(
    ("arguments", "environment", "level"),
    [
        ([], {}, "WARNING None"),
        (["--verbose"], {}, "DEBUG DEBUG"),
        (["-v"], {"KUBERT_LOG_LEVEL": "error"}, "DEBUG DEBUG"),
        ([], {"KUBERT_LOG_LEVEL": "info"}, "INFO info"),
    ],
    ids=["default", "verbose", "flag-before-variable", "variable"],
)
def test_the_log_level_applies_to_this_process_and_to_the_processes_that_it_starts(
    arguments: list[str], environment: dict[str, str], level: str
) -> None:
    code = (
        "import atexit, logging, os, sys; from pipeline.cli.main import main\n"
        "name = lambda: logging.getLevelName(logging.getLogger('pipeline').level)\n"
        "show = lambda: print(name(), os.environ.get('KUBERT_LOG_LEVEL'), file=sys.stderr)\n"
        "atexit.register(show); main(sys.argv[1:])"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "KUBERT_LOG_LEVEL"}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments, "config"],
        capture_output=True, text=True, check=True, env={**inherited, **environment},
    )  # fmt: skip
    assert result.stderr == f"{level}\n"


def test_an_unknown_log_level_is_a_user_error() -> None:
    result = run_kubert("config", KUBERT_LOG_LEVEL="loud")
    assert result.returncode == 2
    assert "KUBERT_LOG_LEVEL='loud': unknown level; use one of DEBUG, INFO" in result.stderr


def test_serving_a_registry_names_its_models(tmp_path: Path) -> None:
    for model in ("news", "tickets"):
        (tmp_path / model / "1").mkdir(parents=True)
        (tmp_path / model / "1" / "manifest.json").write_text("{}")
    result = run_kubert("serve", str(tmp_path))
    assert result.returncode == 2
    assert f"kubert serve {tmp_path}/news; kubert serve {tmp_path}/tickets" in result.stderr


def test_config_prints_what_set_changes() -> None:
    result = run_kubert("config", "--set", "train.epochs=7")
    assert yaml.safe_load(result.stdout)["train"]["epochs"] == 7
