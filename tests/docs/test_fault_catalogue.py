"""The fault catalogue describes every fault that tests inject, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate_fault_catalogue import (
    PAGE,
    Fault,
    FaultTest,
    find_fault_tests,
    format_page,
    format_sentence,
    parse_codes,
    read_catalogue,
)


def read_codes() -> list[str]:
    return [code for faults in read_catalogue().values() for code in faults]


def test_every_fault_of_a_test_is_in_the_catalogue() -> None:
    unknown = [
        f"{test.file}::{test.name}: {code}"
        for test in find_fault_tests()
        for code in test.codes
        if code not in read_codes()
    ]
    assert unknown == [], "describe the fault in tests/faults/catalogue.yaml"


def test_every_fault_in_the_catalogue_has_a_test() -> None:
    tested = {code for test in find_fault_tests() for code in test.codes}
    assert [code for code in read_codes() if code not in tested] == []


def test_no_fault_is_described_twice() -> None:
    assert len(read_codes()) == len(set(read_codes()))


def test_the_page_is_up_to_date() -> None:
    generated = format_page(read_catalogue(), find_fault_tests())
    assert PAGE.read_text(encoding="utf-8") == generated, "run: make reference"


@pytest.mark.parametrize(
    ("docstring", "codes"),
    [
        pytest.param("Fault W1.", ("W1",), id="one"),
        pytest.param("Fault D1: a row is missing.", ("D1",), id="with-a-sentence"),
        pytest.param("Faults S3 and E2.", ("S3", "E2"), id="two"),
        pytest.param("Faults W1, W2 and A10.\n\nMore.", ("W1", "W2", "A10"), id="three"),
        pytest.param("Some other text about Fault W1.", (), id="not-at-the-beginning"),
        pytest.param("", (), id="no-docstring"),
    ],
)
def test_a_docstring_names_its_faults(docstring: str, codes: tuple[str, ...]) -> None:
    assert parse_codes(docstring) == codes


@pytest.mark.parametrize("docstring", ["Faults W1.", "Fault W1 and W2.", "Faults W1-W3.", "Fault:"])
def test_a_malformed_list_of_faults_is_refused(docstring: str) -> None:
    with pytest.raises(ValueError, match="write `Fault W1"):
        parse_codes(docstring)


def test_tests_are_found_by_their_docstrings(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "unit"
    folder.mkdir(parents=True)
    (folder / "test_x.py").write_text(
        'def test_a_disk_is_full():\n    """Fault C1."""\n\n\ndef test_b():\n    pass\n'
    )
    assert list(find_fault_tests(tmp_path)) == [
        FaultTest("tests/unit/test_x.py", "test_a_disk_is_full", ("C1",))
    ]


def test_a_fault_is_listed_with_the_sentences_of_its_tests() -> None:
    tests = [FaultTest("tests/e2e/test_x.py", "test_a_pod_s_disk_is_full", ("C1",))]
    page = format_page({"Disks": {"C1": Fault("The disk is full.", "An error.")}}, tests)
    assert page.endswith(
        "## Disks\n\n### C1\n\n**Fault:** The disk is full.\n\n**Outcome:** An error.\n\n"
        "- [tests/e2e/test_x.py](../../tests/e2e/test_x.py), on a cluster\n"
        "    - A pod's disk is full\n"
    )


def test_a_test_name_becomes_a_sentence() -> None:
    assert format_sentence("test_no_step_is_lost") == "No step is lost"
