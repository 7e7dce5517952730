"""A server while versions are added, removed, rolled back or changed by a real puller."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import registry
from components.artifacts import manifest
from components.storage.store import open_store
from tests.support.releases.served_process import Served
from tests.support.releases.served_release import publish_release

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("genuine")
    for seed in (1, 2, 3):
        publish_release(root, seed)
    return root / "models" / "news"


class Client:
    """Sends requests without a pause.

    Every reply that is not a 200 goes to `faults`; `answers` has each answer that differs from the
    one before.
    """

    def __init__(self, served_release: Served) -> None:
        self.served_release, self.faults, self.answers = served_release, list[Any](), list[Any]()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_requests)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _send_requests(self) -> None:
        while not self._ended.is_set():
            status, reply = self.served_release.predict("w1 w2 w3")
            if status != 200:
                self.faults.append(reply)
                continue
            scores = [round(score, 4) for score in reply["predictions"][0]["scores"]]
            if not self.answers or self.answers[-1] != scores:
                self.answers.append(scores)


@pytest.fixture
def served_release(genuine: Path, tmp_path: Path) -> Iterator[Served]:
    """A server of a directory that has version 1."""
    shutil.copytree(genuine / "1", tmp_path / "served" / "1")
    started = Served(tmp_path / "served")
    yield started
    started.end(signal.SIGKILL)


def copy_version(source: Path, target: Path) -> None:
    """Copy as `kubert pull` does: to a directory beside it, then by a rename."""
    shutil.copytree(source, target.parent / f".{target.name}.part")
    (target.parent / f".{target.name}.part").rename(target)


def test_a_release_and_a_rollback_reach_the_clients_without_a_failed_request(
    genuine: Path, tmp_path: Path
) -> None:
    """Fault E5."""
    store = open_store(str(tmp_path / "models"))
    shutil.copytree(genuine.parent, tmp_path / "models")
    registry.set_champion(store, "news", 1)
    pull = [
        sys.executable,
        "-m",
        "components.serving.puller",
        str(tmp_path / "models/news"),
        "--to",
        str(tmp_path / "served"),
    ]
    subprocess.run(pull, check=True, timeout=60)
    with subprocess.Popen([*pull, "--watch", "0.2"], stdout=subprocess.DEVNULL) as puller:
        served_release = Served(tmp_path / "served")
        try:
            with Client(served_release) as client:
                registry.set_champion(store, "news", 3)
                served_release.wait_for("version 3 (accuracy 0.0300) loaded")
                registry.set_champion(store, "news", 2)
                served_release.wait_for("version 2 (accuracy 0.0200) loaded")
                states = [
                    (item["version"], item["state"])
                    for item in served_release.call("GET", "/v1/models/news")[1][
                        "model_version_status"
                    ]
                ]
                served_release.predict("a last one by the version put back")
            assert served_release.end() == 0
        finally:
            served_release.end(signal.SIGKILL)
            puller.terminate()
    assert client.faults == []
    assert len(client.answers) == 3, "the answers of versions 1, 3 and 2, each in one stretch"
    assert states == [("3", "END"), ("2", "AVAILABLE"), ("1", "END")]


def test_a_changed_version_is_refused_and_the_old_one_stays(
    served_release: Served, genuine: Path, tmp_path: Path
) -> None:
    """Fault A2."""
    copy_version(genuine / "2", tmp_path / "evil")
    weights = next((tmp_path / "evil" / "variables").glob("*.data*"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    copy_version(tmp_path / "evil", tmp_path / "served" / "2")
    served_release.wait_for("its SHA-256 is not the manifest's")
    assert served_release.wait_for("version 1 goes on")
    assert served_release.predict("w1")[0] == 200
    assert served_release.call("GET", "/healthz")[1]["version"] == 1
    copy_version(genuine / "3", tmp_path / "served" / "3")
    served_release.wait_for("version 3 (accuracy 0.0300) loaded")
    assert sum("SHA-256" in line for line in served_release.lines) == 1, "a refusal is logged once"


def test_a_model_that_reads_files_is_refused_before_it_is_loaded(
    served_release: Served, genuine: Path, tmp_path: Path
) -> None:
    """Fault A3."""
    make = (
        "import sys, tensorflow as tf\n"
        "class M(tf.Module):\n"
        "    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='text')])\n"
        "    def f(self, text):\n"
        "        return {'label': tf.io.read_file(tf.constant('/etc/hostname'))[None]}\n"
        "m = M(); tf.saved_model.save(m, sys.argv[1], signatures={'serving_default': m.f})\n"
    )
    subprocess.run(
        [sys.executable, "-c", make, str(tmp_path / "evil")],
        check=True,
        timeout=120,
        capture_output=True,
    )
    content = manifest.read_manifest(genuine / "2").content
    manifest.commit(tmp_path / "evil", "release", content=content)
    copy_version(tmp_path / "evil", tmp_path / "served" / "2")
    served_release.wait_for("operation ReadFile")
    assert served_release.predict("w1")[0] == 200


def test_the_loaded_version_stays_when_the_directory_is_emptied(
    served_release: Served, genuine: Path, tmp_path: Path
) -> None:
    """Fault E5."""
    shutil.rmtree(tmp_path / "served")
    served_release.wait_for("No such file or directory; version 1 goes on")
    assert served_release.predict("w1")[0] == 200
    time.sleep(2.5)
    (tmp_path / "served").mkdir()
    copy_version(genuine / "2", tmp_path / "served" / "2")
    served_release.wait_for("version 2 (accuracy 0.0200) loaded")
    assert served_release.predict("w1")[0] == 200
    assert sum("No such file" in line for line in served_release.lines) == 1, "logged once"
