"""A side is a real process that does nothing before it is told to, and whose end is explained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.harness.contender import Side, started


def side(log: Path) -> Side:
    return Side(
        "tests.support.counting_contender",
        [],
        log,
        cores=sorted(os.sched_getaffinity(0))[:1],
        environment={"THREADS": "1"},
    )


def test_rounds_come_after_the_warm_up_and_one_at_a_time(tmp_path: Path):
    with started(one=side(tmp_path / "one.log")) as sides:
        rounds = [sides["one"].round(), sides["one"].round()]
    assert [round.examples for round in rounds] == [101, 102]
    assert rounds[0].more == {"threads": 1.0, "cores": 1.0}
    assert all(round.wall > 0 and round.cpu >= 0 for round in rounds)


def test_a_side_that_ends_says_why(tmp_path: Path):
    with started(one=side(tmp_path / "one.log")) as sides:
        for _ in range(2):
            sides["one"].round()
        with pytest.raises(RuntimeError, match=r"code 1(.|\n)*no more rows"):
            sides["one"].round()
    assert "a library's own output" in (tmp_path / "one.log").read_text()
