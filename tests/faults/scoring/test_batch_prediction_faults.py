"""Faults of `kubert score`: what a stopped, killed or failing attempt leaves, and what goes on."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.batch_prediction.request import BatchPredictionRequest
from components.batch_prediction.step import run
from components.batch_prediction.target import STATE_DIRECTORY
from components.config.data import DataConfig
from components.errors import DataError, ExitCode, KubertError
from components.scoring import job as jobs
from components.scoring import unit_scoring
from components.storage.atomic_files import file_sha256
from components.storage.store import Store, open_store
from tests.support.releases.word_rule import rule_release
from tests.support.stores.fault_proxy import Call, Fault
from tests.support.stores.object_stores import StorageLocation
from tests.support.training.local_training import wait_for

ROWS = 40
MANY_ROWS = 20_000
OUTPUT = "predictions.csv"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rule_release(tmp_path_factory.mktemp("releases") / "rule", {"w1": 1, "w2": 2})


def write_source(path: Path, rows: int) -> Path:
    path.write_text("text\n" + "".join(f"w{row % 3} row {row}\n" for row in range(rows)))
    return path


@pytest.fixture
def request_(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A request of three small units, scored in this process."""
    monkeypatch.setattr(jobs, "MIN_UNIT_ROWS", 16)
    monkeypatch.setattr(jobs, "_UNIT_STEP", 16)
    source = write_source(tmp_path / "texts.csv", ROWS)
    return BatchPredictionRequest(
        release=str(release),
        data=DataConfig(source=str(source), text="text"),
        to=str(tmp_path / "out"),
        format="csv",
        workers=0,
    )


def fail_at_unit(monkeypatch: pytest.MonkeyPatch, unit: int, error: BaseException) -> None:
    """The result of this unit, and no other one, cannot be written."""
    write = unit_scoring.write_result  # type: ignore[attr-defined]

    def write_or_fail(store: Store, job: Any, result: Any) -> str:
        if result.unit == unit:
            raise error
        key: str = write(store, job, result)
        return key

    monkeypatch.setattr(unit_scoring, "write_result", write_or_fail)


def interrupt_at_unit(
    request: BatchPredictionRequest, monkeypatch: pytest.MonkeyPatch, unit: int
) -> None:
    """Run the request until the result of this unit would be written."""
    with monkeypatch.context() as patch:
        fail_at_unit(patch, unit, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(request)


def list_units(target: str) -> dict[str, int]:
    """The unit results of a local target, with their inodes."""
    directory = Path(target, STATE_DIRECTORY, "units")
    found = sorted(directory.glob("*.arrow")) if directory.exists() else []
    return {path.name: path.stat().st_ino for path in found}


def test_a_full_disk_leaves_what_was_scored_and_the_same_request_goes_on(
    request_: BatchPredictionRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault P2."""
    with monkeypatch.context() as patch:
        fail_at_unit(patch, 1, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(KubertError, match=r"No space left .* the same command goes on"):
            run(request_)
    assert [name[:6] for name in list_units(request_.to)] == ["000000"]
    assert run(request_).content.rows == ROWS
    assert not Path(request_.to, STATE_DIRECTORY).exists()


def test_a_source_that_changed_between_two_attempts_is_refused_by_name(
    request_: BatchPredictionRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fault P3."""
    interrupt_at_unit(request_, monkeypatch, 1)
    source = tmp_path / "texts.csv"
    before = source.read_text()
    source.write_text(before.replace("w1", "w2", 1))
    with pytest.raises(DataError, match=r"another content of .*texts.csv, which has changed since"):
        run(request_)
    source.write_text(before)
    assert run(request_).content.rows == ROWS


def test_a_release_with_other_classes_does_not_go_on_with_the_scores_of_the_first(
    request_: BatchPredictionRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fault P3."""
    interrupt_at_unit(request_, monkeypatch, 1)
    other = rule_release(tmp_path / "other", {"w1": 1}, ("no", "yes"))
    with pytest.raises(DataError, match=r"was started with the model .*/rule, not .*/other"):
        run(request_.model_copy(update={"release": str(other)}))


def test_a_damaged_unit_is_scored_again(
    request_: BatchPredictionRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fault P4."""
    undisturbed = run(request_.model_copy(update={"to": str(tmp_path / "undisturbed")}))
    interrupt_at_unit(request_, monkeypatch, 2)
    first, second = (
        Path(request_.to, STATE_DIRECTORY, "units", name) for name in list_units(request_.to)
    )
    first.write_bytes(first.read_bytes()[:-7])
    second.write_bytes(b"")
    assert run(request_).manifest.files == undisturbed.manifest.files


@pytest.mark.parametrize("storage_location", ["s3"], indirect=True)
def test_a_store_that_fails_leaves_what_was_scored_and_the_same_request_goes_on(
    request_: BatchPredictionRequest, storage_location: StorageLocation, tmp_path: Path
) -> None:
    """Fault P2."""
    remote = request_.model_copy(update={"to": f"{storage_location.uri}/out"})

    def refuse_second_unit(call: Call) -> Fault | None:
        return Fault(status=403) if call.method == "PUT" and "/units/000001" in call.path else None

    with (
        storage_location.through(refuse_second_unit),
        pytest.raises(KubertError, match="access refused"),
    ):
        run(remote)
    store = open_store(remote.to)
    units = [key for key in store.list() if "/units/" in key]
    assert len(units) == 1 and not store.exists("manifest.json")
    run(remote)
    local = run(request_)
    assert store.list() == ["manifest.json", OUTPUT]
    store.download(OUTPUT, tmp_path / "downloaded")
    assert file_sha256(tmp_path / "downloaded") == local.manifest.files[OUTPUT].sha256


@pytest.mark.parametrize("storage_location", ["gs", "s3"], indirect=True)
def test_connections_that_break_change_nothing_in_the_output(
    request_: BatchPredictionRequest, storage_location: StorageLocation, tmp_path: Path
) -> None:
    """Fault P2."""
    remote = request_.model_copy(update={"to": f"{storage_location.uri}/out"})
    broken: set[str] = set()

    def break_once(call: Call) -> Fault | None:
        kind = f"{call.method} of a unit" if "units" in call.path else "other"
        if kind in broken or kind == "other":
            return None
        broken.add(kind)
        return Fault(cut=10) if call.method == "GET" else Fault(lose=True)

    with storage_location.through(break_once):
        run(remote)
    assert {name.split()[0] for name in broken} >= {"GET"}
    assert len(broken) > 1  # an upload, too
    local = run(request_)
    open_store(remote.to).download(OUTPUT, tmp_path / "downloaded")
    assert file_sha256(tmp_path / "downloaded") == local.manifest.files[OUTPUT].sha256


class Command:
    """A running `kubert score` of MANY_ROWS rows."""

    def __init__(self, release: Path, home: Path, workers: int) -> None:
        self.target = home / "out"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pipeline.cli", "score", str(release)),
                *("--source", str(home / "many.csv"), "--text", "text", "--to", str(self.target)),
                *("--format", "csv", "--workers", str(workers)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for_units(self) -> None:
        wait_for(lambda: self.process.poll() is None and list_units(str(self.target)), "a unit")

    def finish(self) -> str:
        output, _ = self.process.communicate(timeout=240)
        return output


@pytest.fixture
def start(release: Path, tmp_path: Path) -> Callable[[int], Command]:
    write_source(tmp_path / "many.csv", MANY_ROWS)
    return lambda workers: Command(release, tmp_path, workers)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_command_that_was_ended_goes_on_with_any_number_of_workers(
    start: Callable[[int], Command], number: signal.Signals
) -> None:
    """Fault P1."""
    command = start(2)
    command.wait_for_units()
    workers = psutil.Process(command.process.pid).children(recursive=True)
    command.process.send_signal(number)
    output = command.finish()
    psutil.wait_procs(workers, timeout=60)
    assert not [worker for worker in workers if worker.is_running()]
    if number == signal.SIGTERM:
        assert command.process.returncode == ExitCode.INTERRUPTED
        assert "the same command goes on from it" in output
    before = list_units(str(command.target))
    assert before and not (command.target / "manifest.json").exists()
    resumed = start(1)

    def has_more_units() -> bool:
        now = list_units(str(resumed.target))
        return len(now) > len(before) and before.items() <= now.items()

    wait_for(has_more_units, "units beside those of before")
    assert "20,000 rows" in resumed.finish()
    lines = (resumed.target / OUTPUT).read_text().splitlines()
    labels = [line.split(",")[0] for line in lines[1:]]
    assert labels == [("calm", "loud", "odd")[row % 3] for row in range(MANY_ROWS)]


@pytest.mark.slow
def test_a_worker_that_was_killed_is_started_again_alone(start: Callable[[int], Command]) -> None:
    """Fault P1."""
    command = start(2)
    command.wait_for_units()
    first, second = psutil.Process(command.process.pid).children()
    first.kill()
    output = command.finish()
    assert command.process.returncode == 0, output
    assert "20,000 rows" in output
    attempts = command.target.glob("**/logs/*")
    assert not [*attempts]  # removed with the state
    assert not second.is_running()
