"""S1-S5 and A5 against a backend that fails, loses replies and damages bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from components.errors import ConfigError
from components.storage.backend import TemporaryError, error_for_status
from components.storage.store import CorruptError, DeniedError, MissingError, StoreError, open_store
from tests.support.stores.faulty_backend import FaultyBackend, build_store


def failing(
    rate: float, seed: int, statuses: tuple[int, ...] = (429, 500, 503)
) -> Callable[[str, str], None]:
    """A hook that fails a seeded share of calls, by status, time-out or a cut connection."""
    draw = random.Random(seed)

    def hook(operation: str, key: str) -> None:
        if draw.random() < rate:
            raise draw.choice(
                [
                    *(error_for_status(status, "busy") for status in statuses),
                    TimeoutError("timed out"),
                    ConnectionResetError("reset"),
                ]
            )

    return hook


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5], ids=lambda rate: f"{rate:.0%}")
def test_transfers_succeed_although_calls_fail(rate: float, tmp_path: Path) -> None:
    """Fault S1."""
    waits: list[float] = []
    store = build_store(FaultyBackend(tmp_path / "store", failing(rate, seed=7)), waits)
    for number in range(30):
        store.write(f"k/{number}", bytes([number]) * 1000)
        assert store.create(f"c/{number}", b"%d" % number)
    assert store.list("k") == sorted(f"k/{number}" for number in range(30))
    assert all(store.read_bytes(f"k/{number}") == bytes([number]) * 1000 for number in range(30))
    assert all(0 <= wait <= 20 for wait in waits)
    if rate == 0.5:
        assert len(set(waits)) > len(waits) / 2, "waits without jitter"


def test_attempts_are_bounded_and_the_error_names_the_uri(tmp_path: Path) -> None:
    """Fault S1."""
    waits: list[float] = []
    store = build_store(FaultyBackend(tmp_path, failing(1.0, seed=1, statuses=(503,))), waits)
    with pytest.raises(StoreError, match=r"gs://double/models/news/1/x: .*attempts: 12"):
        store.read_bytes("news/1/x")
    assert len(waits) == 11
    assert sum(waits) < 11 * 20


@pytest.mark.parametrize(
    ("status", "kind"), [(401, DeniedError), (403, DeniedError), (404, MissingError)]
)
@pytest.mark.parametrize("operation", ["size", "get", "put", "create", "delete", "list_keys"])
def test_a_refused_or_missing_object_fails_at_once(
    status: int, kind: type[Exception], operation: str, tmp_path: Path
) -> None:
    """Fault S2."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "k").write_bytes(b"1")
    calls: list[str] = []

    def hook(called: str, key: str) -> None:
        if called == operation:
            calls.append(key)
            raise error_for_status(status, "no")

    waits: list[float] = []
    store = build_store(FaultyBackend(tmp_path / "store", hook), waits)
    acts: dict[str, Callable[[], object]] = {
        "size": lambda: store.size("k"),
        "get": lambda: store.download("k", tmp_path / "down"),
        "put": lambda: store.write("k", b"2"),
        "create": lambda: store.create("n", b"2"),
        "delete": lambda: store.delete("k"),
        "list_keys": lambda: store.list(),
    }
    with pytest.raises(kind, match="gs://double/models"):
        acts[operation]()
    assert len(calls) == 1
    assert waits == []


def test_an_interrupted_upload_is_invisible_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault S3."""
    store = open_store(str(tmp_path / "store"))
    store.write("news/model", b"old" * 1000)

    def dies(source: IO[bytes], target: IO[bytes], size: int) -> None:
        target.write(source.read(100))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("components.storage.local.shutil.copyfileobj", dies)
        for key in ("news/model", "news/other"):
            with pytest.raises(KeyboardInterrupt):
                store.write(key, b"new" * 1000)
    assert store.read_bytes("news/model") == b"old" * 1000
    assert store.list() == ["news/model"]
    store.write("news/model", b"new" * 1000)
    assert store.read_bytes("news/model") == b"new" * 1000


def losing(first: int) -> Callable[[str, str], None]:
    """A hook that loses the replies of the first calls."""
    left = first

    def hook(operation: str, key: str) -> None:
        nonlocal left
        if left:
            left -= 1
            raise TemporaryError(5, "the reply was lost")

    return hook


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_reply_does_no_harm(lost: int, tmp_path: Path) -> None:
    """Fault S4."""
    backend = FaultyBackend(tmp_path, after=losing(lost))
    store = build_store(backend)
    assert store.create("claim", b"mine, 5d1f"), (
        "the object is ours, although only a repeated attempt could say so"
    )
    backend.after = losing(lost)
    store.write("k", b"1")
    backend.after = losing(lost)
    store.delete("k")
    assert store.list() == ["claim"]


def test_after_a_lost_reply_another_callers_object_is_not_claimed(tmp_path: Path) -> None:
    """Fault S4."""
    assert open_store(str(tmp_path)).create("claim", b"theirs")
    assert not build_store(FaultyBackend(tmp_path, after=losing(1))).create("claim", b"ours")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [cut, flip])
def test_truncated_or_damaged_bytes_are_never_used(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    """Fault S5."""
    open_store(str(tmp_path / "store")).write("k", b"0123456789")
    with pytest.raises(CorruptError, match=r"gs://double/models/k: .*(arrived)"):
        build_store(FaultyBackend(tmp_path / "store", damage=damage)).download(
            "k", tmp_path / "down"
        )
    assert not (tmp_path / "down").exists()


def test_damaged_bytes_are_downloaded_again(tmp_path: Path) -> None:
    """Fault S5."""
    open_store(str(tmp_path / "store")).write("k", b"0123456789")
    hits: list[Path] = []

    def once(path: Path) -> None:
        hits.append(path)
        if len(hits) == 1:
            cut(path)

    assert (
        build_store(FaultyBackend(tmp_path / "store", damage=once)).read_bytes("k") == b"0123456789"
    )
    assert len(hits) == 2


@pytest.mark.parametrize(
    "uri",
    [
        "gs://../x",
        "gs://bucket/../x",
        "gs://a..b/x",
        "s3://bucket/a/../../b",
        "/srv/models/../../etc",
        "../models",
        "file:///a/../b",
        "gs://user@bucket/x",
        "s3://key:canary@bucket/x",
        "gs://bucket/a@b",
        "http://example.com/x",
        "https://bucket/x",
        "ftp://bucket/x",
        "gs://169.254.169.254/computeMetadata/v1",
        "s3://metadata.google.internal/x",
        "gs://metadata/x",
        "gs://localhost/x",
        "gs://bucket:8080/x",
        "gs:///x",
        "gs://",
        "",
        " ",
        "file://host/x",
        "s3://bucket/x?versionId=1",
        "gs://bucket/a\nb",
        "GS://bucket/x",
        "gs://Bucket/x",
        "gs://[fd00:ec2::254]/x",
        "gs://bucket/a//b",
    ],
)
def test_dangerous_uris_are_refused(uri: str) -> None:
    """Fault A5."""
    with pytest.raises(ConfigError):
        open_store(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIA:canary@bucket/x",
        "http://me:canary@host/x",
        "gs://bucket/x?token=canary",
        "s3://canary@a..b/../x",
    ],
)
def test_a_secret_in_a_uri_is_not_in_the_error(uri: str) -> None:
    """Fault A6."""
    with pytest.raises(ConfigError) as error:
        open_store(uri)
    assert "canary" not in str(error.value)
