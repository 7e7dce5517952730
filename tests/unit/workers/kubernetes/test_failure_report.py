from __future__ import annotations

from components.workers.kubernetes.failure_report import MAX_LINE_LENGTH, format_failure


def test_a_report_fits_on_one_screen() -> None:
    text = format_failure(
        "failed",
        remedy="do " * 200,
        last_lines=[f"line {number}" for number in range(90)],
        worker="worker 1",
        events=["event"] * 50,
        command="kubectl",
    )
    lines = text.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= MAX_LINE_LENGTH
    assert "last lines of worker 1:" in lines
    assert "  line 89" in lines
    assert "  line 0" not in lines
    assert lines[-1] == "more: kubectl"


def test_empty_sections_are_left_out() -> None:
    assert format_failure("failed") == "failed"
