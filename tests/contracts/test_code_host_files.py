"""The code host's files: they parse, name what exists, and run what `.ci/run` runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
FORMS = ("bug_report.yml", "feature_request.yml", "question.yml")
FIELD_TYPES = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def find_form_errors(form: Any) -> list[str]:
    """What the code host would refuse in an issue form."""
    if not isinstance(form, dict):
        return ["not a mapping"]
    errors = [f"no {key}" for key in ("name", "description", "body") if not form.get(key)]
    fields = form.get("body") or []
    ids = [field["id"] for field in fields if "id" in field]
    errors += [f"unknown type {field.get('type')}" for field in fields if _has_other_type(field)]
    errors += [
        f"no label: {field.get('id')}"
        for field in fields
        if field.get("type") != "markdown" and not field.get("attributes", {}).get("label")
    ]
    return errors + ([] if len(ids) == len(set(ids)) else ["repeated id"])


def _has_other_type(field: dict[str, Any]) -> bool:
    return field.get("type") not in FIELD_TYPES


def read_workflow() -> dict[Any, Any]:
    text = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    workflow: dict[Any, Any] = yaml.safe_load(text)
    return workflow


def test_every_yaml_file_parses() -> None:
    files = sorted(GITHUB.rglob("*.yml"))
    assert {file.name for file in files} == {*FORMS, "config.yml", "ci.yml"}
    for file in files:
        assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("name", FORMS)
def test_an_issue_form_is_complete(name: str) -> None:
    text = (GITHUB / "ISSUE_TEMPLATE" / name).read_text(encoding="utf-8")
    assert find_form_errors(yaml.safe_load(text)) == []


def test_the_rule_about_issue_forms() -> None:
    field = {"type": "textarea", "id": "a", "attributes": {"label": "A"}}
    form = {"name": "Bug", "description": "It fails", "body": [field]}
    assert find_form_errors(form) == []
    assert find_form_errors({**form, "name": ""}) == ["no name"]
    assert find_form_errors({**form, "body": [field, field]}) == ["repeated id"]
    assert find_form_errors({**form, "body": [{"type": "file"}]}) == [
        "unknown type file",
        "no label: None",
    ]


def test_the_workflow_runs_the_checks_with_python_3_11_and_without_third_parties() -> None:
    workflow = read_workflow()
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert ":3.11" in job["container"]
    assert [step for step in job["steps"] if "uses" in step] == []
    assert job["steps"][-1]["run"] == ".ci/run"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_workflow_starts_for_pushes_to_main_and_for_pull_requests() -> None:
    triggers = read_workflow()[True]  # YAML 1.1 reads the key `on` as a boolean
    assert triggers == {"push": {"branches": ["main"]}, "pull_request": None}


def test_the_code_of_conduct_names_no_address_and_links_to_existing_files() -> None:
    text = (ROOT / "CODE_OF_CONDUCT.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links == ["SECURITY.md"]
    assert (ROOT / "SECURITY.md").is_file()
    assert re.search(r"\S@\S|https?:", text) is None
