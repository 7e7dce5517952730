"""The guide from TFJob to JobSet names fields that a JobSet has, and what its rules do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from components.workers import exit_codes
from tests.support.documents.page_directory import ROOT
from tests.support.documents.page_tables import Row, read_page, read_table

GOLDEN = ROOT / "tests/unit/workers/kubernetes/golden_jobset.yaml"
JOBSET = yaml.safe_load(GOLDEN.read_text("utf-8"))
JOB = "spec.replicatedJobs[0].template.spec"
PREFIXES = {"JOB": JOB, "POD": f"{JOB}.template.spec"}
PREFIXES["CONTAINER"] = f"{PREFIXES['POD']}.containers[0]"
OUTCOMES = {
    "other": "restarted, counted",
    "disrupted": "restarted, not counted",
    "permanent": "final",
}


def read_field_rows() -> list[Row]:
    return [row for number in range(3) for row in read_table("from-tfjob", "Fields", number)]


def list_jobset_paths() -> list[str]:
    """The paths in the last column of the tables of fields, without abbreviations."""
    words = [word for row in read_field_rows() for word in re.split(r"[ ,;:]+", row[-1])]
    return [
        re.sub(rf"^({'|'.join(PREFIXES)})\.", lambda found: f"{PREFIXES[found[1]]}.", word)
        for word in words
        if re.match(r"(spec|metadata|JOB|POD|CONTAINER)\.", word)
    ]


def read_path(document: Any, path: str) -> Any:
    """The value at a path such as `spec.jobs[0].name`; KeyError if there is none."""
    for name in re.findall(r"[^.\[\]]+", path):
        document = document[int(name) if name.isdigit() else name]
    return document


def find_rule(code: int) -> str:
    """The rule of the failure policy that applies to the Job of a worker with this exit code."""
    message = f"Container train for pod x failed with exit code {code} matching FailJob rule"
    for rule in JOBSET["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", ())
        if any(re.search(pattern, message) for pattern in patterns):
            return str(rule["name"])
    return "other"


def test_the_tables_have_many_paths() -> None:
    assert len(list_jobset_paths()) > 30


@pytest.mark.parametrize("path", sorted(set(list_jobset_paths())))
def test_a_field_that_the_guide_names_is_in_the_jobset(path: str) -> None:
    read_path(JOBSET, path)


def test_the_abbreviations_are_explained() -> None:
    text = " ".join(read_page("from-tfjob").split())
    assert f"`JOB` is `{JOB}`, `POD` is `JOB.template.spec`" in text
    assert "`CONTAINER` is `POD.containers[0]`" in text


@pytest.mark.parametrize(
    "row", read_table("from-tfjob", "Failure rules", 1), ids=lambda row: row[0].partition(":")[0]
)
def test_an_exit_code_has_the_rule_that_the_guide_says(row: Row) -> None:
    codes, tfjob, rule, outcome = row
    for code in map(int, re.findall(r"\d+", codes.partition(":")[0])):
        assert find_rule(code) == rule, code
        assert outcome.startswith(OUTCOMES[rule]), code
        assert tfjob == ("replaced" if code >= 128 else "final"), code


def test_every_exit_code_of_a_worker_is_in_the_table() -> None:
    shown = {
        int(code)
        for row in read_table("from-tfjob", "Failure rules", 1)
        for code in re.findall(r"\d+", row[0])
    }
    known = {
        exit_codes.RENDEZVOUS_TIMEOUT,
        exit_codes.PEER_LOST,
        exit_codes.DISK_FULL,
        exit_codes.PREEMPTED,
    }
    assert known | exit_codes.NEVER_RESTARTED <= shown
