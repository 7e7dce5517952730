from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.serving.tensorboard_sync import sync_event_files
from components.storage.store import Store, open_store


@pytest.fixture
def state(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "state"))
    store.write("0123abcd/tensorboard/events.out.1", b"one")
    store.write("4567/tensorboard/events.out.2", b"two")
    store.write("4567/checkpoints/000001/step-000000003/manifest.json", b"{}")
    return store


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_event_files_of_all_trainings_come_and_nothing_else(state: Store, tmp_path: Path) -> None:
    assert sync_event_files(state, tmp_path / "logs") == 6
    assert files(tmp_path / "logs") == {
        "0123abcd/events.out.1": b"one",
        "4567/events.out.2": b"two",
    }
    assert sync_event_files(state, tmp_path / "logs") == 0


def test_a_reader_that_has_the_file_open_sees_what_was_added(state: Store, tmp_path: Path) -> None:
    sync_event_files(state, tmp_path / "logs")
    with open(tmp_path / "logs/4567/events.out.2", "rb") as reader:
        assert reader.read() == b"two"
        state.write("4567/tensorboard/events.out.2", b"two and more")
        assert sync_event_files(state, tmp_path / "logs") == len(b" and more")
        assert reader.read() == b" and more"


def test_files_that_are_gone_go(state: Store, tmp_path: Path) -> None:
    sync_event_files(state, tmp_path / "logs")
    state.clear("4567")
    sync_event_files(state, tmp_path / "logs")
    assert list(files(tmp_path / "logs")) == ["0123abcd/events.out.1"]


def test_the_state_of_one_training_will_do(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "state"))
    store.write("tensorboard/events.out.1", b"one")
    sync_event_files(store, tmp_path / "logs")
    assert files(tmp_path / "logs") == {"training/events.out.1": b"one"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "components.serving.tensorboard_sync", *arguments],
        capture_output=True,
        text=True,
    )


def test_the_command_mirrors_once(state: Store, tmp_path: Path) -> None:
    ended = run(state.uri(), "--to", str(tmp_path / "logs"))
    assert (ended.returncode, ended.stdout) == (0, "6 new bytes\n")


@pytest.mark.parametrize(
    ("uri", "seconds", "code", "message"),
    [
        pytest.param("ftp://x/y", "1", 78, "unknown scheme", id="uri"),
        pytest.param("/nowhere", "0", 64, "--watch 0", id="seconds"),
    ],
)
def test_mistakes_end_it_with_a_message(
    uri: str, seconds: str, code: int, message: str, tmp_path: Path
) -> None:
    ended = run(uri, "--to", str(tmp_path / "logs"), "--watch", seconds)
    assert ended.returncode == code
    assert message in ended.stderr and "Traceback" not in ended.stderr


def test_it_follows_what_comes_later(state: Store, tmp_path: Path) -> None:
    arguments = [
        sys.executable,
        "-m",
        "components.serving.tensorboard_sync",
        state.uri(),
        "--to",
        str(tmp_path / "logs"),
        "--watch",
        "0.1",
    ]
    follower = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        state.write("89ab/tensorboard/events.out.3", b"three")
        late = tmp_path / "logs/89ab/events.out.3"
        deadline = time.monotonic() + 30
        while not (late.exists() and late.read_bytes() == b"three") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert late.read_bytes() == b"three"
        assert follower.poll() is None
    finally:
        follower.terminate()
        follower.wait()


def test_it_needs_no_tensorflow() -> None:
    code = (
        "import sys; import components.serving.tensorboard_sync; "
        "sys.exit(bool({'tensorflow', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
