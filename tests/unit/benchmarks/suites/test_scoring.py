"""The arithmetic and the comparison of the scoring benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness.interleaving import Measurement
from benchmarks.suites import scoring


def test_two_workers_that_take_half_the_time_are_twice_as_fast() -> None:
    one, two = (Measurement(examples=100, cpu_seconds=1.0, wall_seconds=wall) for wall in (8, 4))
    assert scoring.scaling_ratio(one, two) == pytest.approx(2.0)
    longer = Measurement(examples=200, cpu_seconds=1.0, wall_seconds=8)
    assert scoring.scaling_ratio(one, longer) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("row", "agrees"),
    [
        pytest.param("a,0.90001", True, id="rounding"),
        pytest.param("a,0.91", False, id="score"),
        pytest.param("b,0.9", False, id="label"),
    ],
)
def test_outputs_agree_in_labels_and_nearly_in_scores(
    tmp_path: Path, row: str, agrees: bool
) -> None:
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    ours.write_text("label,score\na,0.9\n")
    theirs.write_text(f"label,score\n{row}\n")
    if agrees:
        assert scoring.compare_outputs(ours, theirs) == pytest.approx(1e-5)
    else:
        with pytest.raises(RuntimeError, match="the outputs differ"):
            scoring.compare_outputs(ours, theirs)
