"""Storage faults against real servers, behind a proxy that fails, truncates, delays and damages."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts import transfer
from components.artifacts.artifact import verify_artifact
from components.storage.store import CorruptError, DeniedError, MissingError, StoreError, open_store
from tests.support.releases.plain_artifact import plain_artifact
from tests.support.stores.fault_proxy import Call, Fault, Rule
from tests.support.stores.object_stores import StorageLocation, change_retries, set_server_address
from tests.support.training import local_training

ROOT = Path(__file__).parents[3]
BIG = 33 * 2**20 + 1


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts of at most 20 ms."""
    change_retries(monkeypatch, max_wait_seconds=0.02)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file that goes up in parts."""
    path = tmp_path / "big"
    path.write_bytes(os.urandom(BIG))
    return path


def once(fault: Fault, which: Callable[[Call], bool] = lambda call: True) -> Rule:
    """A rule that strikes the first call of a kind only."""
    left = [fault]
    return lambda call: left.pop() if left and which(call) else None


def writes(call: Call) -> bool:
    return call.method in ("PUT", "POST", "DELETE")


def reads_content(call: Call) -> bool:
    return call.method == "GET" and call.path.startswith(("/download/", "/kubert-test/"))


@pytest.mark.parametrize("rate", [0.05, 0.4], ids=lambda rate: f"{rate:.0%}")
def test_transfers_succeed_although_calls_fail(
    rate: float, remote: StorageLocation, big: Path, tmp_path: Path
) -> None:
    """Fault S1."""
    draw = random.Random(11)
    faults = [
        Fault(status=429),
        Fault(status=500),
        Fault(status=503),
        Fault(drop=True),
        Fault(lose=True),
    ]
    with remote.through(
        lambda call: draw.choice(faults) if draw.random() < rate else None
    ) as proxy:
        store = open_store(remote.uri)
        for number in range(10):
            store.write(f"k/{number}", bytes([number]) * 1000)
            assert store.create(f"c/{number}", b"%d" % number)
        store.upload(big, "k/big")
        store.download("k/big", tmp_path / "down")
        assert [store.read_bytes(f"k/{number}") for number in range(10)] == [
            bytes([number]) * 1000 for number in range(10)
        ]
        assert len(proxy.calls) > 40
    assert (tmp_path / "down").read_bytes() == big.read_bytes()
    assert len(open_store(remote.uri).list()) == 21


def test_attempts_are_bounded_and_the_error_names_the_uri(remote: StorageLocation) -> None:
    """Fault S1."""
    with remote.through(lambda call: Fault(status=503)) as proxy:
        with pytest.raises(StoreError, match=rf"^{remote.uri}/k: .*attempts: 12"):
            open_store(remote.uri).size("k")
        assert len(proxy.calls) == 12


def test_an_unreachable_server_is_an_error_that_names_the_uri(
    remote: StorageLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault S1."""
    with remote.through() as proxy:
        pass
    set_server_address(remote.name, proxy.address, monkeypatch)
    with pytest.raises(StoreError, match=rf"^{remote.uri}/k: .*attempts: 12"):
        open_store(remote.uri).size("k")


def test_a_reply_that_never_arrives_times_out(
    remote: StorageLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault S1."""
    open_store(remote.uri).write("k", b"1")
    monkeypatch.setattr("components.storage.gcs.REQUEST_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr("components.storage.s3.REQUEST_TIMEOUT_SECONDS", 0.5)
    with remote.through(once(Fault(delay=2.0))) as proxy:
        assert open_store(remote.uri).read_bytes("k") == b"1"
        assert len(proxy.calls) > 2


@pytest.mark.parametrize(("status", "kind"), [(403, DeniedError), (404, MissingError)])
@pytest.mark.parametrize("operation", ["download", "write", "create", "list", "big"])
def test_a_refused_or_missing_object_fails_at_once(
    status: int,
    kind: type[Exception],
    operation: str,
    remote: StorageLocation,
    big: Path,
    tmp_path: Path,
) -> None:
    """Fault S2."""
    with remote.through(lambda call: Fault(status=status)) as proxy:
        store = open_store(remote.uri)
        acts: dict[str, Callable[[], object]] = {
            "download": lambda: store.download("k", tmp_path / "down"),
            "write": lambda: store.write("k", b"2"),
            "create": lambda: store.create("k", b"2"),
            "list": lambda: store.list("k"),
            "big": lambda: store.upload(big, "k"),
        }
        with pytest.raises(kind, match=rf"^{remote.uri}/k"):
            acts[operation]()
        assert len(proxy.calls) == 1


def test_a_missing_bucket_is_an_error(remote: StorageLocation) -> None:
    """Fault S2."""
    with pytest.raises(MissingError, match="nobucket"):
        open_store(remote.uri.replace("kubert-test", "nobucket")).list()


def test_an_interrupted_upload_is_invisible_and_can_be_repeated(
    remote: StorageLocation, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault S3."""
    change_retries(monkeypatch, deadline_seconds=3.0)
    store = open_store(remote.uri)
    store.write("k", b"old")
    sent = 0

    def dies(call: Call) -> Fault | None:
        nonlocal sent
        sent += len(call.body)
        return Fault(drop=True) if sent > 20 * 2**20 else None

    with remote.through(dies), pytest.raises(StoreError, match=f"{remote.uri}/k"):
        open_store(remote.uri).upload(big, "k")
    assert store.read_bytes("k") == b"old"
    assert store.list() == ["k"]
    store.upload(big, "k")
    store.download("k", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == big.read_bytes()


def test_uploaded_parts_are_not_sent_again(remote: StorageLocation, big: Path) -> None:
    """Fault S3."""
    large = lambda call: len(call.body) > 2**20  # noqa: E731
    with remote.through(
        once(
            Fault(status=503), lambda call: large(call) and call.body[:64] != big.read_bytes()[:64]
        )
    ) as proxy:
        open_store(remote.uri).upload(big, "k")
        sent = sum(len(call.body) for call in proxy.calls)
    assert BIG <= sent < BIG + 18 * 2**20
    assert open_store(remote.uri).size("k") == BIG


UPLOAD = """
import sys
from pathlib import Path
from components.artifacts import transfer
transfer.upload_artifact(Path(sys.argv[1]), sys.argv[2])
"""


def test_a_killed_artifact_upload_is_invisible_and_can_be_repeated(
    remote: StorageLocation, tmp_path: Path
) -> None:
    """Faults S3 and E2."""
    source = plain_artifact(tmp_path / "source", "a", size=1000)
    reached, go = threading.Event(), threading.Event()

    def holds_the_last_file(call: Call) -> Fault | None:
        if writes(call) and b"a: weights/model.index" in call.body:
            reached.set()
            go.wait(30)
            return Fault(drop=True)
        return None

    with remote.through(holds_the_last_file):
        with subprocess.Popen(
            [sys.executable, "-c", UPLOAD, str(source), remote.uri], cwd=ROOT
        ) as process:
            assert reached.wait(60)
            local_training.wait_for(
                lambda: "vocab.txt" in open_store(remote.uri).list(),
                "vocab.txt, which goes up beside the held file",
            )
            process.send_signal(signal.SIGKILL)
        go.set()
    assert "vocab.txt" in open_store(remote.uri).list()
    assert transfer.find_remote_manifest(remote.uri, "checkpoint") is None
    transfer.upload_artifact(source, remote.uri)
    assert transfer.download_artifact(
        remote.uri, tmp_path / "target", "checkpoint"
    ) == verify_artifact(source)


def test_every_write_survives_a_lost_reply(
    remote: StorageLocation, big: Path, tmp_path: Path
) -> None:
    """Fault S4."""
    lost: set[tuple[str, str, int]] = set()

    def lose(call: Call) -> Fault | None:
        what = (call.method, call.path.partition("?")[0], len(call.body))
        if not writes(call) or what in lost:
            return None
        lost.add(what)
        return Fault(lose=True)

    with remote.through(lose):
        store = open_store(remote.uri)
        assert store.create("claim", b"mine, 5d1f"), (
            "the object is ours, although only a repeated attempt could say so"
        )
        store.write("small", b"1")
        store.write("gone", b"1")
        store.delete("gone")
        store.upload(big, "big")
        store.download("big", tmp_path / "down")
        assert len(lost) >= 5
    assert open_store(remote.uri).list() == ["big", "claim", "small"]
    assert (tmp_path / "down").read_bytes() == big.read_bytes()


def test_after_a_lost_reply_another_callers_object_is_not_claimed(remote: StorageLocation) -> None:
    """Fault S4."""
    assert open_store(remote.uri).create("claim", b"theirs")
    with remote.through(once(Fault(lose=True))):
        assert not open_store(remote.uri).create("claim", b"ours")


@pytest.mark.parametrize("fault", [Fault(flip=True), Fault(cut=500)], ids=["wrong", "short"])
def test_damaged_downloads_are_repeated(
    fault: Fault, remote: StorageLocation, tmp_path: Path
) -> None:
    """Fault S5."""
    data = os.urandom(1000)
    open_store(remote.uri).write("k", data)
    with remote.through(once(fault, reads_content)) as proxy:
        assert open_store(remote.uri).read_bytes("k") == data
        assert len([call for call in proxy.calls if reads_content(call)]) == 2


@pytest.mark.parametrize("fault", [Fault(flip=True), Fault(cut=500)], ids=["wrong", "short"])
def test_downloads_that_are_always_damaged_are_never_used(
    fault: Fault, remote: StorageLocation, tmp_path: Path
) -> None:
    """Fault S5."""
    open_store(remote.uri).write("k", os.urandom(1000))
    (tmp_path / "down").write_bytes(b"before")
    with (
        remote.through(lambda call: fault if reads_content(call) else None),
        pytest.raises((CorruptError, StoreError), match=remote.uri),
    ):
        open_store(remote.uri).download("k", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["down"]


def test_damaged_uploads_are_never_used(remote: StorageLocation, tmp_path: Path) -> None:
    """Fault S5."""
    source = plain_artifact(tmp_path / "source", "a", size=1000)
    with remote.through(once(Fault(flip_up=True), lambda call: b"a: vocab.txt" in call.body)):
        transfer.upload_artifact(source, remote.uri)
    try:
        transfer.download_artifact(remote.uri, tmp_path / "target", "checkpoint")
    except CorruptError:
        assert remote.name == "s3", (
            "moto alone does not look at the checksum that comes with an upload"
        )
        assert not (tmp_path / "target").exists()
    else:
        assert verify_artifact(tmp_path / "target") == verify_artifact(source)


def test_an_artifact_is_transferred_although_a_third_of_the_calls_fail(
    remote: StorageLocation, tmp_path: Path
) -> None:
    """Fault S1."""
    draw = random.Random(5)
    faults = [
        Fault(status=503),
        Fault(drop=True),
        Fault(lose=True),
        Fault(cut=10),
        Fault(flip=True),
    ]

    def unreliable(call: Call) -> Fault | None:
        fault = draw.choice(faults) if draw.random() < 0.3 else None
        return (
            fault if fault is None or not (fault.cut or fault.flip) or reads_content(call) else None
        )

    source = plain_artifact(
        tmp_path / "source", "a", files=tuple(f"k{number}" for number in range(12)), size=5000
    )
    with remote.through(unreliable):
        transfer.upload_artifact(source, remote.uri)
        transfer.download_artifact(remote.uri, tmp_path / "target", "checkpoint")
    assert verify_artifact(tmp_path / "target") == verify_artifact(source)


@pytest.mark.parametrize("remote", ["s3"], indirect=True)
def test_a_service_that_ignores_conditional_writes_is_refused(remote: StorageLocation) -> None:
    def unconditional(call: Call) -> Fault | None:
        call.headers.pop("If-None-Match", None)
        return None

    with remote.through(unconditional), pytest.raises(StoreError, match="ignores If-None-Match"):
        open_store(remote.uri).create("claim", b"mine")
