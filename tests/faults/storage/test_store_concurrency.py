"""Several processes that write to one store at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components import registry
from components.storage.store import open_store
from tests.support.releases.release_directories import markers, release_directory
from tests.support.stores.object_stores import StorageLocation

ROOT = Path(__file__).parents[3]


def run_simultaneously(script: str, arguments: list[list[str]]) -> list[str]:
    """Run several processes, started at one moment when all are ready; what each printed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *own],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for own in arguments
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs


CREATE = """
import json, sys
from components.storage.store import open_store
store, number, won = open_store(sys.argv[1]), sys.argv[2], []
store.exists("warm")
print("ready", flush=True)
sys.stdin.readline()
for turn in range(20):
    won.append(store.create(f"claim-{turn}", f"caller {number}".encode()))
print(json.dumps(won))
"""


def test_exactly_one_of_eight_processes_creates_an_object(
    storage_location: StorageLocation,
) -> None:
    """Fault E1."""
    won = [
        json.loads(line)
        for line in run_simultaneously(
            CREATE, [[storage_location.uri, str(number)] for number in range(8)]
        )
    ]
    store = open_store(storage_location.uri)
    for turn in range(20):
        winners = [number for number in range(8) if won[number][turn]]
        assert len(winners) == 1
        assert store.read_bytes(f"claim-{turn}") == f"caller {winners[0]}".encode()


PUBLISH = """
import sys
from pathlib import Path
from components.artifacts.release import open_release
from components.registry import registry
from components.storage.store import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
release = open_release(Path(sys.argv[2]))
print(registry.publish(release, store, "news", sys.argv[3]).model_dump_json())
"""


@pytest.mark.parametrize("same_key", [True, False], ids=["same-key", "other-key"])
def test_six_processes_publish_at_once(
    same_key: bool, storage_location: StorageLocation, tmp_path: Path
) -> None:
    """Fault E1."""
    sources = [
        release_directory(tmp_path / f"source-{number}", f"source {number}") for number in range(6)
    ]
    own = [
        [storage_location.uri, str(source), "key" if same_key else f"key-{number}"]
        for number, source in enumerate(sources)
    ]
    published = [
        registry.PublishedVersion.model_validate_json(line)
        for line in run_simultaneously(PUBLISH, own)
    ]
    versions = sorted({found.version for found in published})
    assert len(versions) == sum(found.created for found in published) == (1 if same_key else 6)
    store = open_store(storage_location.uri)
    assert registry.list_versions(store, "news") == versions
    seen = set()
    for version in versions:
        registry.pull_version(store, "news", version, tmp_path / "pulled" / str(version))
        found = markers(tmp_path / "pulled" / str(version))
        assert len(found) == 1
        seen |= found
    assert len(seen) == len(versions)
