"""A side is a real process that does nothing before it is told to, and whose end is explained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.harness.contender import Contender, start_contenders


def side(log: Path) -> Contender:
    return Contender(
        "tests.support.counting_contender",
        [],
        log,
        cores=sorted(os.sched_getaffinity(0))[:1],
        environment={"THREADS": "1"},
    )


def test_rounds_come_after_the_warm_up_and_one_at_a_time(tmp_path: Path):
    with start_contenders(one=side(tmp_path / "one.log")) as sides:
        rounds = [sides["one"].measure(), sides["one"].measure()]
    assert [round.examples for round in rounds] == [101, 102]
    assert rounds[0].extra == {"threads": 1.0, "cores": 1.0}
    assert all(round.wall_seconds > 0 and round.cpu_seconds >= 0 for round in rounds)


def test_a_side_that_ends_says_why(tmp_path: Path):
    with start_contenders(one=side(tmp_path / "one.log")) as sides:
        for _ in range(2):
            sides["one"].measure()
        with pytest.raises(RuntimeError, match=r"code 1(.|\n)*no more rows"):
            sides["one"].measure()
    assert "a library's own output" in (tmp_path / "one.log").read_text()
