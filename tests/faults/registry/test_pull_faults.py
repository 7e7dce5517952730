"""A puller process that is killed, stopped and given damaged releases or no store."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components import registry
from components.artifacts.manifest import MANIFEST_FILENAME
from components.artifacts.release import open_release
from components.errors import DataError
from components.storage.store import Store, open_store
from tests.support.releases.release_directories import markers, release_directory
from tests.support.stores.fault_proxy import Fault
from tests.support.stores.object_stores import StorageLocation


def publish(tmp_path: Path, marker: str, size: int = 0) -> None:
    source = tmp_path / f"source-{marker}"
    (source / "variables").mkdir(parents=True)
    (source / "variables" / "weights").write_bytes(f"{marker}: ".encode() + b"x" * size)
    registry.publish(
        open_release(release_directory(source, marker)), open_registry(tmp_path), "news", marker
    )


def open_registry(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "models"))


class Puller:
    """`python -m components.serving.puller --watch`, and the lines it has printed so far."""

    def __init__(self, tmp_path: Path, *options: str, reference: str = "") -> None:
        reference = reference or str(tmp_path / "models/news")
        command = [
            sys.executable,
            "-m",
            "components.serving.puller",
            reference,
            "--to",
            str(tmp_path / "served"),
        ]
        self.process = subprocess.Popen(
            [*command, *(options or ("--watch", "0.1"))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text: str, seconds: float = 30) -> None:
        wait_until(
            lambda: any(text in line for line in self.lines), f"{text!r} in {self.lines}", seconds
        )

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(10)
        return code


def read_message(line: str) -> str:
    """A log line without time, level and logger."""
    return line.partition(": ")[2]


@contextmanager
def puller(tmp_path: Path, *options: str) -> Iterator[Puller]:
    started = Puller(tmp_path, *options)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGKILL)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != ".kubert-pull")


class Server:
    """Watches a directory as TensorFlow Serving does: the highest number is served.

    `seen` has the numbers in order; a release that does not verify goes to `faults`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.seen, self.faults = directory, list[int](), list[str]()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            highest = max(
                (int(path.name) for path in self.directory.iterdir() if path.name.isdigit()),
                default=0,
            )
            if highest and (not self.seen or self.seen[-1] != highest):
                self.seen.append(highest)
                try:
                    open_release(self.directory / str(highest))
                except DataError as error:
                    if (
                        self.directory / str(highest)
                    ).exists():  # removed while it was read: no fault, files that are open stay
                        self.faults.append(str(error))


def test_a_server_sees_complete_releases_and_follows_a_rollback(
    tmp_path: Path,
) -> None:
    """Faults E3 and E5."""
    publish(tmp_path, "a", 2**20)
    (tmp_path / "served").mkdir()
    with (
        puller(tmp_path, "--watch", "0.1", "--keep", "9") as following,
        Server(tmp_path / "served") as server,
    ):
        following.wait_for("serving version 1")
        for number, marker in enumerate("bcd", 2):
            publish(tmp_path, marker, 2**20)
            following.wait_for(f"serving version {number}")
        registry.set_champion(open_registry(tmp_path), "news", 2)
        following.wait_for("serving version 2 (accuracy 0.5000), rolled back from 4")
        assert list_names(tmp_path / "served") == ["1", "2"]
        publish(tmp_path, "e")
        following.wait_for("serving version 5")
        wait_until(lambda: server.seen[-1] == 5, "the server's last sight")
        assert following.end() == 0
    assert server.faults == []
    # From 4 to 2 directly: 3 was never the highest in between.
    assert server.seen == [1, 2, 3, 4, 2, 5]
    assert read_message(following.lines[-1]) == f"stopped; version 5 stays in {tmp_path / 'served'}"


def test_the_next_puller_completes_what_a_killed_one_began(tmp_path: Path) -> None:
    """Fault E3."""
    publish(tmp_path, "a")
    with puller(tmp_path) as first:
        first.wait_for("serving version 1")
        first.end(signal.SIGKILL)
    publish(tmp_path, "b", 60 * 2**20)
    with Server(tmp_path / "served") as server:
        for attempt in range(4):
            with puller(tmp_path) as killed:
                killed.wait_for("fetching version 2") if attempt == 0 else time.sleep(
                    0.25 + 0.1 * attempt
                )
                killed.end(signal.SIGKILL)
        with puller(tmp_path) as last:
            last.wait_for("serving version 2")
            assert last.end() == 0
    assert server.faults == []
    assert list_names(tmp_path / "served") == ["1", "2"], "what the killed ones left is gone"


def test_sigterm_during_a_pull_leaves_no_files(tmp_path: Path) -> None:
    """Fault E3."""
    publish(tmp_path, "a", 150 * 2**20)
    with puller(tmp_path) as following:
        following.wait_for("fetching version 1")
        assert following.end() == 0
    assert read_message(following.lines[-1]).startswith(
        "stopped; nothing was pulled"
    ) or list_names(tmp_path / "served") == ["1"]
    assert [name for name in list_names(tmp_path / "served") if name.startswith(".")] == []
    with puller(tmp_path, "--keep", "1") as once:
        once.wait_for("fetching version 1")
        assert once.end() in (143, 0)
    assert [name for name in list_names(tmp_path / "served") if name.startswith(".")] == []


def test_an_unavailable_store_is_polled_with_backoff_and_the_version_stays(
    tmp_path: Path,
) -> None:
    """Fault E5."""
    publish(tmp_path, "a")
    with puller(tmp_path) as following:
        following.wait_for("serving version 1")
        pointer = tmp_path / "models/news/.kubert/champion"
        pointer.symlink_to(
            "nowhere"
        )  # from now on the store fails when it is asked for the champion
        wait_until(
            lambda: (
                sum("version 1 stays, trying again in" in line for line in following.lines) >= 3
            ),
            "three failures logged",
        )
        assert markers(tmp_path / "served" / "1") == {"a"}
        pointer.unlink()
        publish(tmp_path, "b")
        following.wait_for("serving version 2")
        assert following.end() == 0


def test_a_puller_waits_for_the_first_release(tmp_path: Path) -> None:
    """Fault E5."""
    with puller(tmp_path) as following:
        following.wait_for("nothing is released here yet, waiting")
        time.sleep(0.5)
        assert len(following.lines) == 1, "logged once"
        publish(tmp_path, "a")
        following.wait_for("serving version 1")
        assert following.end() == 0


def test_the_last_version_stays_when_the_store_is_emptied(tmp_path: Path) -> None:
    """Fault E5."""
    publish(tmp_path, "a")
    with puller(tmp_path) as following:
        following.wait_for("serving version 1")
        shutil.rmtree(tmp_path / "models")
        following.wait_for("nothing is released here; version 1 stays, waiting")
        assert following.end() == 0
    assert markers(tmp_path / "served" / "1") == {"a"}


@pytest.mark.parametrize("fault", ["../escape", "variables/weights"])
def test_a_release_with_a_false_manifest_is_refused_and_the_old_one_stays(
    fault: str, tmp_path: Path
) -> None:
    """Faults A1 and A2."""
    publish(tmp_path, "a")
    with puller(tmp_path) as following:
        following.wait_for("serving version 1")
        publish(tmp_path, "b")
        path = tmp_path / "models/news/2" / MANIFEST_FILENAME
        genuine = path.read_text()
        value = json.loads(genuine)
        value["files"][fault] = {"size": 4, "sha256": "0" * 64}
        path.write_text(json.dumps(value))
        shutil.rmtree(tmp_path / "served" / "2", ignore_errors=True)
        wait_until(
            lambda: (
                any("trying again" in line for line in following.lines)
                or (tmp_path / "served/2").exists()
            ),
            "a refusal",
        )
        if not (tmp_path / "served/2").exists():
            assert markers(tmp_path / "served" / "1") == {"a"}
        path.write_text(genuine)
        following.wait_for("serving version 2")
        assert following.end() == 0
    assert markers(tmp_path / "served" / "2") == {"b"}
    assert not (tmp_path / "escape").exists()


def test_what_no_wait_can_mend_ends_it_at_once(tmp_path: Path) -> None:
    for arguments, message in (
        (["gs://", "--to", str(tmp_path)], "write <store>/<model name>"),
        (
            [f"{tmp_path}/models/news@2", "--to", str(tmp_path), "--watch", "1"],
            "version 2 never changes",
        ),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "components.serving.puller", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ended.returncode, ended.stdout) == (64, "")
        assert message in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_puller_survives_an_outage_of_object_storage(
    remote: StorageLocation, tmp_path: Path
) -> None:
    """Fault E5."""
    store = open_store(f"{remote.uri}/models")
    registry.publish(open_release(release_directory(tmp_path / "a", "a")), store, "news", "a")
    with remote.through() as proxy:
        following = Puller(tmp_path, "--watch", "0.2", reference=f"{remote.uri}/models/news")
        try:
            following.wait_for("serving version 1", 60)
            proxy.rule = lambda call: Fault(drop=True)
            seen = len(proxy.calls)
            wait_until(lambda: len(proxy.calls) > seen + 3, "calls that fail")
            assert markers(tmp_path / "served" / "1") == {"a"}
            proxy.rule = lambda call: None
            registry.publish(
                open_release(release_directory(tmp_path / "b", "b")), store, "news", "b"
            )
            following.wait_for("serving version 2", 90)
            proxy.rule = lambda call: Fault(status=503)
            time.sleep(1)
            started = time.monotonic()
            assert following.end() == 0
            assert time.monotonic() - started < 10, "a stop does not wait for the store"
        finally:
            if following.process.poll() is None:
                following.end(signal.SIGKILL)
    assert markers(tmp_path / "served" / "2") == {"b"}
