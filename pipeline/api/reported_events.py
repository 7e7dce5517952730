"""Progress events of a step that runs in this process, given to a function instead of printed."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.config.environment import ENV_PROGRESS
from components.progress import ProgressEvent, ProgressFile

POLL_SECONDS = 0.2


@contextmanager
def forward_events(show: Callable[[ProgressEvent], None]) -> Iterator[None]:
    """Give `show` the events that this process and its workers report while the block runs.

    They are given by one thread, in order, the last of them before the block is left. What `show`
    raises is raised at the end of the block, if that raises nothing itself.
    """
    ended = threading.Event()
    errors: list[Exception] = []
    with tempfile.TemporaryDirectory(prefix="kubert-progress-") as directory:
        path = Path(directory) / "events"
        events = ProgressFile(path)

        def show_until_ended() -> None:
            try:
                while True:
                    is_last = ended.wait(POLL_SECONDS)
                    for event in events.read_new_events():
                        show(event)
                    if is_last:
                        return
            except Exception as error:
                errors.append(error)

        before = os.environ.get(ENV_PROGRESS)
        os.environ[ENV_PROGRESS] = str(path)
        thread = threading.Thread(target=show_until_ended, daemon=True, name="progress")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if before is None:
                del os.environ[ENV_PROGRESS]
            else:
                os.environ[ENV_PROGRESS] = before
    if errors:
        raise errors[0]
