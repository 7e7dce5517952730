"""Progress events for tests, from the values that stand in a progress file."""

from __future__ import annotations

import json
from typing import Any

from components.progress import ProgressEvent, parse_progress_event


def make_event(**values: Any) -> ProgressEvent:
    """The event that a line with these values is read as."""
    event = parse_progress_event(json.dumps(values))
    assert event is not None, values
    return event
