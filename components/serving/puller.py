"""A model server's directory holds the store's champion as its highest version, before, while and after that changes.

TensorFlow Serving serves the highest number it finds. So a champion is put in place whole, by one rename, before anything
else is touched; then what is above it goes, lowest first, each by one rename: whenever the server looks, the highest version is
the old champion or the new one.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from components.artifacts import manifest as manifests
from components.artifacts import release
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest
from components.errors import ConfigError, DataError, ExitCode, KubertError, UsageError
from components.registry.reference import ModelReference, parse_model_reference, resolve_version

MAX_WAIT_SECONDS = 300.0
DEFAULT_KEPT_VERSIONS = 1
LOCK_FILENAME = ".kubert-pull"
UNFINISHED_PATTERN = re.compile(r"^\.[0-9]+\..+")
Say = Callable[[str], None]


class _Stopped(BaseException):
    """SIGTERM came; what is under way is undone on the way out."""


def pull_once(reference: str, into: Path, say: Say) -> tuple[int, Path, Manifest]:
    """Pull the version that `reference` means to `into/<version>`, and tell what was done: version, directory, manifest.

    Errors are those of `pull`. SIGTERM ends the process with 143 and leaves nothing half-made.
    """
    place = parse_model_reference(reference)
    with _directory(into), _stoppable():
        try:
            version = resolve_version(place)
            found = _bring(place, version, into, say)
        except _Stopped:
            raise SystemExit(ExitCode.TERMINATED) from None
    say(f"{place.name} version {version} is at {into / str(version)}, verified")
    return version, into / str(version), found


def sync_until_stopped(reference: str, into: Path, seconds: float, keep: int, say: Say) -> None:
    """Keep `into` at the store's champion until SIGTERM, looking every `seconds`; `keep` lower versions stay.

    A store that fails, or a release that does not verify, leaves the directory as it is and is tried again, less and less
    often (up to every 5 minutes). Raises UsageError or ConfigError for what no wait can mend: a wrong reference or option, or access
    refused from the start.
    """
    place = parse_model_reference(reference)
    if place.version is not None:
        raise UsageError(
            f"{reference}: version {place.version} never changes; leave it out to follow {place.name}, or leave out --watch"
        )
    if seconds <= 0 or keep < 0:
        raise UsageError(
            f"--watch {seconds:g} --keep {keep}: the seconds must be more than 0, and the versions kept at least 0"
        )
    with _directory(into), _stoppable():
        try:
            _follow(place, into, seconds, keep, say)
        except _Stopped:
            served = max((version for version, _ in _numbered(into)), default=None)
            say(
                f"stopped; {f'version {served} stays' if served else 'nothing was pulled'} in {into}"
            )


def _follow(place: ModelReference, into: Path, seconds: float, keep: int, say: Say) -> None:
    served: int | None = None
    failures, tried = 0, False
    told = ""
    while True:
        wait = seconds
        try:
            champion = release.find_champion(place.store, place.name)
            if champion is None:
                message = f"{place.store.uri(place.name)}: nothing is released here{f'; version {served} stays' if served else ' yet'}, waiting"
                if told != message:
                    say(message)
                told = message
            else:
                update_directory(place, champion, served, into, keep, say)
                served, told = champion, ""
            failures = 0
        except (KubertError, OSError) as error:
            if not tried and isinstance(error, ConfigError | UsageError):
                raise
            failures += 1
            wait = max(
                seconds, min(MAX_WAIT_SECONDS, seconds * 2.0 ** min(failures, 16))
            ) * random.uniform(0.8, 1.0)  # noqa: S311 - spreads the load
            stays = f"version {served} stays" if served else "nothing is there yet"
            say(f"{error}; {stays}, trying again in {wait:.0f} s")
        tried = True
        time.sleep(wait)


def update_directory(
    place: ModelReference, champion: int, served: int | None, into: Path, keep: int, say: Say
) -> None:
    """Make `champion` the highest version in `into`, where `served` was it; only `keep` versions below it stay.

    DataError, and nothing is changed, where something else than a release of this model has a higher number.
    """
    for version, path in _numbered(into):
        if version > champion and not _is_ours(path, place.name):
            raise DataError(
                f"{path}: not a release of {place.name}, and a server would take it before version {champion}; remove it, or use another directory"
            )
    if champion != served or not (into / str(champion) / MANIFEST_FILENAME).is_file():
        found = _bring(place, champion, into, say)
        accuracy = release.parse_release_content(found, str(into)).accuracy
        back = served is not None and champion < served
        was = (
            f", {'rolled back from' if back else 'was'} {served}"
            if served is not None and champion != served
            else ""
        )
        _retire(place, champion, into, keep)
        say(f"{place.name}: serving version {champion} (accuracy {accuracy:.4f}){was}")
    else:
        _retire(place, champion, into, keep)


def _bring(place: ModelReference, version: int, into: Path, say: Say) -> Manifest:
    target = into / str(version)
    if not target.exists():
        size = sum(
            entry.size
            for entry in release.read_version_manifest(
                place.store, place.name, version
            ).files.values()
        )
        say(
            f"{place.name}: fetching version {version} ({size / 2**20:.1f} MiB) from {place.store.uri()}"
        )
    return release.pull_version(place.store, place.name, version, target)


def _retire(place: ModelReference, champion: int, into: Path, keep: int) -> None:
    """Remove this model's versions above the champion, lowest first, and those below it but the `keep` highest."""
    ours = [version for version, path in _numbered(into) if _is_ours(path, place.name)]
    below = [version for version in ours if version < champion]
    for version in [
        *(version for version in ours if version > champion),
        *below[: max(0, len(below) - keep)],
    ]:
        gone = Path(tempfile.mkdtemp(dir=into, prefix=f".{version}.old."))
        os.replace(into / str(version), gone)
        shutil.rmtree(gone, ignore_errors=True)


def _numbered(into: Path) -> list[tuple[int, Path]]:
    """What a server takes for a version: everything whose name is a number, lowest first."""
    return sorted(
        (int(path.name), path)
        for path in into.iterdir()
        if path.name.isascii() and path.name.isdigit()
    )


def _is_ours(path: Path, name: str) -> bool:
    if path.is_symlink() or not release.VERSION_PATTERN.match(path.name):
        return False
    try:
        found = release.parse_release_content(manifests.read_manifest(path, "release"), str(path))
    except (DataError, OSError):
        return False
    return (found.name, found.version) == (name, int(path.name))


@contextmanager
def _directory(into: Path) -> Iterator[None]:
    """The directory, made if need be and ours alone: of two pullers one would remove what the other puts together."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        lock = os.open(into / LOCK_FILENAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"--to {into}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"--to {into}: another pull is at work there; end it first, or use another directory"
            ) from None
        for leftover in into.iterdir():
            if UNFINISHED_PATTERN.match(leftover.name):
                shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        os.close(lock)


@contextmanager
def _stoppable() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Stopped


def main() -> int:
    """Parse, pull or follow; a KubertError becomes its message and its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m components.serving.puller",
        description="Bring a release to a directory, verified.",
    )
    parser.add_argument(
        "reference",
        metavar="STORE/NAME[@VERSION]",
        help="what to pull; without a version, the champion",
    )
    parser.add_argument(
        "--to",
        required=True,
        type=Path,
        metavar="DIR",
        help="a model server's directory; DIR/<version> appears in it",
    )
    parser.add_argument(
        "--watch",
        type=float,
        metavar="SECONDS",
        help="go on: follow new releases and rollbacks, looking this often",
    )
    parser.add_argument(
        "--keep",
        type=int,
        default=DEFAULT_KEPT_VERSIONS,
        metavar="N",
        help="--watch: versions below the served one that stay in DIR",
    )
    given = parser.parse_args()
    try:
        if given.watch is None:
            pull_once(given.reference, given.to, _say)
        else:
            sync_until_stopped(given.reference, given.to, given.watch, given.keep, _say)
    except KubertError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
