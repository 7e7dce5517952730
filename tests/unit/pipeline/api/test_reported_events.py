from __future__ import annotations

import os

import pytest

from components import progress
from components.config.environment import ENV_PROGRESS
from components.progress import ProgressEvent, StepName
from pipeline.api.reported_events import forward_events


def test_events_reach_the_function_in_order_and_not_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[ProgressEvent] = []
    before = os.environ.get(ENV_PROGRESS)
    with forward_events(seen.append):
        progress.report(StepName.SCORE, "counting the rows")
        progress.report_note(StepName.SCORE, "a note")
    assert [event.message for event in seen] == ["counting the rows", "a note"]
    assert capsys.readouterr().out == ""
    assert os.environ.get(ENV_PROGRESS) == before


def test_what_the_function_raises_is_raised() -> None:
    def fail(_event: ProgressEvent) -> None:
        raise ValueError("no display")

    with pytest.raises(ValueError, match="no display"), forward_events(fail):
        progress.report(StepName.SCORE, "counting the rows")
