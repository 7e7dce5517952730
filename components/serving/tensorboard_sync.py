"""A directory follows TensorBoard's event files of all trainings below a place in object storage. No TensorFlow.

TensorBoard reads that directory: TensorFlow's own gs:// and s3:// know neither the endpoint of another service nor kubert's
credentials. Event files only ever grow, and a reader keeps them open, so what is new is appended to the file that is there.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from components.errors import ConfigError, KubertError, UsageError
from components.storage.store import Store, open_store

EVENTS = re.compile(r"(?:(?P<run>.+)/)?tensorboard/(?P<file>events\.[^/]+)")
HERE = "training"
"""The run's name where the place is one training's own."""


def sync_event_files(store: Store, directory: Path) -> int:
    """Bring the event files below the store to `directory/<run>/`, and remove those that are gone there; bytes that were new."""
    found = {
        directory / (match["run"] or HERE) / match["file"]: key
        for key in store.list()
        if (match := EVENTS.fullmatch(key))
    }
    new = sum(_catch_up(store, key, path) for path, key in found.items())
    for path in directory.rglob("events.*"):
        if path not in found:
            path.unlink()
    return new


def _catch_up(store: Store, key: str, path: Path) -> int:
    there, here = store.size(key) or 0, path.stat().st_size if path.exists() else 0
    if there <= here:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kubert-") as temporary:
        whole = Path(temporary) / "events"
        store.download(key, whole)
        with open(whole, "rb") as source, open(path, "ab") as target:
            source.seek(here)
            return target.write(source.read())


def sync_forever(place: str, directory: Path, seconds: float) -> None:
    """Mirror every `seconds`, for ever. A store that fails is asked again; access refused from the start is not."""
    store = open_store(place)
    told = tried = False
    while True:
        try:
            sync_event_files(store, directory)
            told = False
        except (KubertError, OSError) as error:
            if not tried and isinstance(error, ConfigError | UsageError):
                raise
            if not told:
                print(f"{error}; looking again every {seconds:g} s", file=sys.stderr, flush=True)
            told = True
        tried = True
        time.sleep(seconds)


def main() -> int:
    """Parse, then mirror once or follow; a KubertError becomes its message and its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m components.serving.tensorboard_sync",
        description="Bring event files to a directory.",
    )
    parser.add_argument(
        "place",
        metavar="STATE",
        help="gs://, s3:// or minio:// place of trainings' state (cluster.checkpoint_uri)",
    )
    parser.add_argument(
        "--to", required=True, type=Path, metavar="DIR", help="the directory that TensorBoard reads"
    )
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="go on, looking this often")
    given = parser.parse_args()
    try:
        if given.watch is not None and given.watch <= 0:
            raise UsageError(f"--watch {given.watch:g}: the seconds must be more than 0")
        if given.watch is None:
            print(f"{sync_event_files(open_store(given.place), given.to)} new bytes")
        else:
            sync_forever(given.place, given.to, given.watch)
    except KubertError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
