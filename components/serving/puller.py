"""Keeps a model server's directory at the registry's champion, or pulls a release there once.

TensorFlow Serving serves the highest version number that it finds. A new champion therefore appears
complete, by one rename, before anything else is touched; then the versions above it are removed.
Whenever the server looks, the highest version is the old champion or the new one.

    python -m components.serving.puller STORE/NAME --to DIR --watch SECONDS
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from components.artifacts.artifact import Artifact
from components.artifacts.manifest import MANIFEST_FILENAME
from components.artifacts.release import ReleaseContent
from components.errors import ExitCode, UsageError
from components.registry.champion import read_champion
from components.registry.listing import ModelListing, list_model
from components.registry.reference import ModelReference, parse_model_reference, resolve_version
from components.registry.registry import read_release
from components.serving.model_directory import (
    check_highest_version,
    list_numbered_paths,
    lock_directory,
    remove_old_versions,
)
from components.serving.polling import poll_forever
from components.serving.sync_command import run_sync_command
from components.workers.process_control import signals_handled

MAX_WAIT_SECONDS = 300.0
MAX_BACKOFF_EXPONENT = 16
WAIT_JITTER = (0.8, 1.0)
DEFAULT_KEPT_VERSIONS = 1
MIB = 2**20

logger = logging.getLogger(__name__)
Report = Callable[[str], None]


class _TerminatedError(BaseException):
    """SIGTERM arrived; the pull in progress is undone while this unwinds the stack."""


def pull_once(reference: str, directory: Path, report: Report) -> Artifact[ReleaseContent]:
    """Pull the version that `reference` means to `directory/<version>`, and report what was done.

    Raises the errors of `components.registry.reference.pull`. SIGTERM ends the process with 143 and
    leaves no unfinished files.
    """
    model = parse_model_reference(reference)
    with lock_directory(directory), _raise_on_sigterm():
        try:
            resolved = resolve_version(model)
            release = _pull_version(resolved.listing, resolved.version, directory, report)
        except _TerminatedError:
            raise SystemExit(ExitCode.TERMINATED) from None
    report(f"{model.name} version {resolved.version} is at {release.directory}, verified")
    return release


def sync_until_stopped(
    reference: str, directory: Path, interval_seconds: float, kept_versions: int
) -> None:
    """Keep `directory` at the registry's champion until SIGTERM.

    A registry that fails, or a release that does not verify, leaves the directory as it is and is
    tried again, less and less often (up to every 5 minutes). Raises UsageError or ConfigError for a
    wrong reference or option, and where access is refused from the start.
    """
    model = parse_model_reference(reference)
    if model.version is not None:
        raise UsageError(
            f"{reference}: version {model.version} never changes; leave it out to follow "
            f"{model.name}, or leave out --watch"
        )
    if interval_seconds <= 0 or kept_versions < 0:
        raise UsageError(
            f"--watch {interval_seconds:g} --keep {kept_versions}: the seconds must be more than "
            "0, and the versions kept at least 0"
        )
    sync = ChampionSync(model, directory, kept_versions, logger.info)

    def log_failure(error: Exception, failures: int) -> float:
        backoff = interval_seconds * 2.0 ** min(failures, MAX_BACKOFF_EXPONENT)
        wait = max(interval_seconds, min(MAX_WAIT_SECONDS, backoff))
        wait *= random.uniform(*WAIT_JITTER)  # noqa: S311 - spreads the load
        served = sync.served_version
        state = f"version {served} stays" if served else "nothing is there yet"
        logger.warning("%s; %s, trying again in %.0f s", error, state, wait)
        return wait

    with lock_directory(directory), _raise_on_sigterm():
        try:
            poll_forever(sync.update_directory, interval_seconds, log_failure)
        except _TerminatedError:
            served = max((version for version, _ in list_numbered_paths(directory)), default=None)
            state = f"version {served} stays" if served else "nothing was pulled"
            logger.info("stopped; %s in %s", state, directory)


class ChampionSync:
    """Makes the champion the highest version in a directory; `kept_versions` below it stay."""

    def __init__(
        self, model: ModelReference, directory: Path, kept_versions: int, report: Report
    ) -> None:
        self._model, self._directory = model, directory
        self._kept_versions, self._report = kept_versions, report
        self._reported_waiting = ""
        self.served_version: int | None = None

    def update_directory(self) -> None:
        """Read the champion from the registry and bring the directory to it, if it is another.

        DataError, and nothing is changed, where something that is no release of this model has a
        higher number. A model without a version leaves the directory as it is.
        """
        listing = list_model(self._model.store, self._model.name)
        champion = read_champion(listing)
        if champion is None:
            self._report_waiting(listing)
            return
        self._reported_waiting = ""
        name, before = listing.name, self.served_version
        check_highest_version(self._directory, name, champion)
        is_there = (self._directory / str(champion) / MANIFEST_FILENAME).is_file()
        if champion == before and is_there:
            remove_old_versions(self._directory, name, champion, self._kept_versions)
            return
        release = _pull_version(listing, champion, self._directory, self._report)
        remove_old_versions(self._directory, name, champion, self._kept_versions)
        self.served_version = champion
        change = ""
        if before is not None and champion != before:
            change = f", {'rolled back from' if champion < before else 'was'} {before}"
        quality = release.content.main_metric
        self._report(f"{name}: serving version {champion} ({quality}){change}")

    def _report_waiting(self, listing: ModelListing) -> None:
        served = self.served_version
        state = f"; version {served} stays" if served else " yet"
        message = f"{listing.uri}: nothing is released here{state}, waiting"
        if message != self._reported_waiting:
            self._report(message)
        self._reported_waiting = message


def _pull_version(
    listing: ModelListing, version: int, directory: Path, report: Report
) -> Artifact[ReleaseContent]:
    release = read_release(listing, version)
    target = directory / str(version)
    if not target.exists():
        report(
            f"{listing.name}: fetching version {version} ({release.size / MIB:.1f} MiB) "
            f"from {listing.store.uri()}"
        )
    return release.pull(target)


@contextmanager
def _raise_on_sigterm() -> Iterator[None]:
    def raise_terminated(_: int) -> NoReturn:
        raise _TerminatedError

    with signals_handled(raise_terminated, [signal.SIGTERM]):
        yield


def main() -> int:
    """Pull once or follow the champion; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m components.serving.puller",
        description="Pull a release to DIR/<version> in a model server's directory, verified; "
        "with --watch, follow new releases and rollbacks.",
    )
    parser.add_argument(
        "reference",
        metavar="STORE/NAME[@VERSION]",
        help="what to pull; without a version, the champion",
    )
    parser.add_argument(
        "--keep",
        type=int,
        default=DEFAULT_KEPT_VERSIONS,
        metavar="N",
        help="with --watch: older versions to keep in DIR besides the served one",
    )
    return run_sync_command(parser, _run_command)


def _run_command(arguments: argparse.Namespace) -> None:
    if arguments.watch is None:
        pull_once(arguments.reference, arguments.to, _print_line)
    else:
        sync_until_stopped(arguments.reference, arguments.to, arguments.watch, arguments.keep)


def _print_line(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
