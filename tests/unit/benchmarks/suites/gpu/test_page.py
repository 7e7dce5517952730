"""The page names what failed, and says in its first lines if no GPU was measured."""

from __future__ import annotations

import datetime
import json

import pytest

from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.suites.gpu.page import (
    STAND_IN,
    Check,
    Section,
    format_json,
    format_page,
    has_failed,
    report_failure,
)

TODAY = datetime.date(2026, 11, 29)
TABLE = Table("Rates", ("model", "rate"), (("minilm", "1000"),))
REPORT = BenchmarkReport("Throughput", {"minilm_examples_per_second": 1000.0}, (TABLE,), ("Note.",))
SECTION = Section(REPORT, (Check("trains", True, "all"), Check("two GPUs", None, "one GPU")))


def make_page(*sections: Section, is_stand_in: bool = False) -> str:
    return format_page("python x", {"commit": "abc"}, sections, TODAY, is_stand_in=is_stand_in)


def test_the_page_has_command_machine_checks_and_tables() -> None:
    page = make_page(SECTION)
    assert page.startswith("# Training on GPUs, 2026-11-29\n\n    python x\n\n- commit: abc\n")
    assert "| trains | passed | all |\n| two GPUs | not checked | one GPU |" in page
    assert "## Throughput\n\nRates:\n" in page
    assert "minilm_examples_per_second" not in page, "the tables have it"


def test_the_first_lines_of_a_stand_ins_page_say_so() -> None:
    assert make_page(SECTION, is_stand_in=True).splitlines()[2] == STAND_IN
    assert STAND_IN not in make_page(SECTION)


def test_the_json_has_the_figures() -> None:
    text = format_json("python x", {}, [SECTION], TODAY, is_stand_in=False)
    value = json.loads(text)
    assert value["sections"][0]["figures"] == {"minilm_examples_per_second": 1000.0}
    assert [check["passed"] for check in value["checks"]] == [True, None]


@pytest.mark.parametrize(
    ("passed", "is_failure"),
    [
        pytest.param(True, False, id="passed"),
        pytest.param(None, False, id="not-checked"),
        pytest.param(False, True, id="failed"),
    ],
)
def test_only_what_failed_is_a_failure(passed: bool | None, is_failure: bool) -> None:
    assert has_failed([Section(REPORT, (Check("x", passed, ""),))]) == is_failure


def test_a_part_that_ended_with_an_error_is_a_failed_check_with_its_reason() -> None:
    section = report_failure("All-reduce", RuntimeError("ended with\nexit code 72"))
    assert has_failed([section])
    assert "| FAILED | ended with exit code 72 |" in make_page(section)
