"""`kubert score`: its messages name the options of the command, and what it prints."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.batch_prediction.target import STATE_DIRECTORY
from components.errors import ConfigError, ExitCode
from components.registry.reference import pull
from components.storage.store import open_store
from pipeline.cli.commands.releases.explain import OPTION_NAMES as EXPLAIN_NAMES
from pipeline.cli.commands.releases.score import OPTION_NAMES, score_source
from pipeline.cli.main import main
from pipeline.cli.option_names import rename_options, translated_option_names
from tests.support.releases.word_rule import publish_rule, rule_release
from tests.support.stores.object_stores import StorageLocation
from tests.support.stores.small_disk import mounted_small_disk, resize_disk

MANY_ROWS = 60_000
Score = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rule_release(tmp_path_factory.mktemp("releases") / "rule", {"w1": 1, "w2": 2})


@pytest.fixture
def score(
    release: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Score:
    """Runs the command in a directory with texts.csv: its exit code, and what it printed."""
    (tmp_path / "texts.csv").write_text("id,text\n1,w1\n2,\n3,w2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")

    def run(
        *options: str, release: str = str(release), to: str = "out", source: str = "texts.csv"
    ) -> tuple[int, str]:
        command = ["score", release, "--source", source, "--to", to, "--workers", "0"]
        with pytest.raises(SystemExit) as end:
            main([*command, *options])
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out + printed.err

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--text", "body"], "no column 'body'", id="text"),
        pytest.param(
            ["--text", "body"], "(options --text, --text-pair, --keep and", id="text-option"
        ),
        pytest.param(["--text", "text"], "--max-bad-rows allows 0", id="bad-rows"),
        pytest.param(["--text", "text"], "or raise --max-bad-rows", id="bad-rows-remedy"),
        pytest.param(["--text", ","], "--text ',': has an empty name", id="no-name"),
        pytest.param(["--keep", "id,,"], "--keep 'id,,': has an empty name", id="no-kept-name"),
        pytest.param(["--source", "-"], "--source -: standard input is not read", id="stdin"),
        pytest.param(["--source", "none.csv"], "check --source", id="no-file"),
        pytest.param(["--source", "./texts.csv"], "named twice by --source", id="twice"),
        pytest.param(
            ["--embeddings", "--format", "csv"], "use --format=parquet or jsonl", id="format"
        ),
        pytest.param(["--separator", ""], "--separator: is empty", id="separator"),
        pytest.param(["--embeddings", "--all-scores"], "leave out --all-scores", id="scores"),
        pytest.param(["--to", "texts.csv"], "write --to . and --format csv", id="file"),
        pytest.param(["--to", ""], "--to '': is empty; name a directory", id="no-target"),
        pytest.param(
            ["--set", "data.source=other.csv"],
            "--set data.source=other.csv: would have no effect; name the texts by --source",
            id="source-option",
        ),
    ],
)
def test_a_message_names_the_option_of_the_command(
    score: Score, options: list[str], message: str
) -> None:
    code, output = score(*options)
    assert code == ExitCode.USER_ERROR
    assert message in output
    assert not Path("out").exists()


def test_every_name_is_an_option_of_the_command() -> None:
    parameters = inspect.signature(score_source).parameters
    flags = {f"--{name.replace('_', '-')}" for name in parameters} | {"--format", "RELEASE"}
    named = {word.rstrip(",") for name in OPTION_NAMES.values() for word in name.split()}
    assert {word for word in named if word.startswith(("--", "RELEASE"))} <= flags


@pytest.mark.parametrize(
    ("message", "renamed"),
    [
        pytest.param("raise data.max_bad_rows.", "raise --max-bad-rows.", id="sentence"),
        pytest.param("data.source: x", "--source: x", id="begin"),
        pytest.param("check data.source and data.test_source", "check --source", id="longest"),
        pytest.param("data.source_x, my.data.source", "data.source_x, my.data.source", id="other"),
        pytest.param("--set data.text=1: bad", "--set data.text=1: bad", id="written-by-the-user"),
        pytest.param("heads=9: 2 heads", "--heads 9: 2 heads", id="argument-of-the-api"),
    ],
)
def test_options_are_renamed(message: str, renamed: str) -> None:
    assert rename_options(message, OPTION_NAMES | EXPLAIN_NAMES) == renamed


def test_an_error_keeps_its_kind() -> None:
    with pytest.raises(ConfigError, match=r"^--to: x$"), translated_option_names(OPTION_NAMES):
        raise ConfigError("score.to: x")


def test_another_name_of_the_same_file_is_the_same_request(score: Score, tmp_path: Path) -> None:
    options = ["--text", "text", "--max-bad-rows", "1"]
    code, output = score(*options)
    assert (code, "rows/s" in output) == (0, False)  # of two rows it would say nothing
    for name in ("./texts.csv", str(tmp_path / "texts.csv"), f"file://{tmp_path}/texts.csv"):
        assert "scored before" in score(*options, source=name)[1]


def test_the_delimiter_that_was_found_is_printed(score: Score) -> None:
    Path("texts.csv").write_text("id;text\n1;w1, x\n")
    code, output = score("--text", "text")
    assert code == 0
    assert "fields are separated by ';' (data.delimiter sets it)" in output


def test_a_release_that_changed_in_between_is_named_with_the_first_one(
    score: Score, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--text", "text", "--max-bad-rows", "1"]
    with monkeypatch.context() as patch:
        patch.setattr("components.scoring.unit_scoring.score_units", _stop)
        assert score(*options)[0] == ExitCode.INTERRUPTED
    other = rule_release(tmp_path / "other", {"w1": 2})
    code, output = score(*options, release=str(other))
    assert code == ExitCode.USER_ERROR
    assert f"was started with the model {release}, not {other}; go on with the same" in output
    code, output = score(*options)
    assert code == 0, output
    assert not Path("out", STATE_DIRECTORY).exists()


@pytest.mark.parametrize("to", ["models/news", "models/news/2", "served", "served/2"])
def test_the_directory_of_a_model_is_refused_and_stays_one(
    score: Score, tmp_path: Path, to: str
) -> None:
    publish_rule(open_store(str(tmp_path / "models")), tmp_path / "first", "k", {"w1": 1})
    pull("models/news", Path("served"))
    before = sorted(tmp_path.rglob("*"))
    code, output = score("--text", "text", "--max-bad-rows", "1", to=to)
    assert code == ExitCode.USER_ERROR
    assert f"--to {tmp_path / to}: is a model's directory, or one of its versions" in output
    assert sorted(tmp_path.rglob("*")) == before
    assert score("--text", "text", "--max-bad-rows", "1", release="models/news")[0] == 0


def test_outputs_may_be_numbered(score: Score) -> None:
    for to in ("out/1", "out/20261130"):
        assert score("--text", "text", "--max-bad-rows", "1", to=to)[0] == 0


def test_a_file_that_is_no_output_or_was_changed_is_named_with_a_remedy(score: Score) -> None:
    options = ["--text", "text", "--max-bad-rows", "1", "--format", "csv"]
    path = Path("out", "predictions.csv")
    path.parent.mkdir()
    path.write_text("from elsewhere")
    code, output = score(*options)
    assert code == ExitCode.USER_ERROR
    assert "no manifest says that it is an output; remove it, or name another" in output
    path.unlink()
    assert score(*options)[0] == 0
    path.write_text("corrected by hand")
    code, output = score(*options)
    assert code == ExitCode.USER_ERROR
    assert f"{path}: was changed since; remove it, or name another directory" in output


def _stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("storage_location", ["gs", "s3"], indirect=True)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("no-such-bucket-1/a.csv", "there is no bucket 'no-such-bucket-1'", id="file"),
        pytest.param("no-such-bucket-1/*.csv", "there is no bucket 'no-such-bucket-1'", id="glob"),
        pytest.param("{bucket}/none.csv", "no such object; check --source", id="object"),
        pytest.param("{bucket}/none/*.csv", "no data file there; check --source", id="no-match"),
    ],
)
def test_a_bucket_or_object_that_does_not_exist_is_named(
    score: Score, storage_location: StorageLocation, name: str, message: str
) -> None:
    scheme, _, bucket = storage_location.uri.partition("://")
    uri = f"{scheme}://{name.format(bucket=bucket)}"
    code, output = score("--text", "text", source=uri)
    assert code == ExitCode.USER_ERROR
    assert output.strip() == f"kubert: {uri}: {message}" or f"{uri}: {message}" in output
    assert "http" not in output and "NoSuch" not in output


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_small_disk(tmp_path / "small", "1m") as directory:
        yield directory


def test_a_full_disk_ends_the_command_and_leaves_whole_results_only(
    score: Score, small_disk: Path
) -> None:
    """Fault P2."""
    Path("texts.csv").write_text("text\n" + "w1 and more\n" * MANY_ROWS)
    code, output = score("--text", "text", to=str(small_disk))
    assert code == ExitCode.FAILURE
    assert "No space left on device" in output
    assert "what was scored stays, and the same command goes on from it" in output
    files = [path for path in small_disk.rglob("*") if path.is_file()]
    assert [path for path in files if path.parent.name == "units"]
    assert not [path for path in files if "tmp" in path.name or path.parent == small_disk]
    resize_disk(small_disk, "40m")
    code, output = score("--text", "text", to=str(small_disk))
    assert code == 0, output
    assert sorted(path.name for path in small_disk.iterdir()) == [
        "manifest.json",
        "predictions.parquet",
    ]
