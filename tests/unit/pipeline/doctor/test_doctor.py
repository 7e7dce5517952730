from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from components.config.loading import load_config
from components.errors import ConfigError
from pipeline.doctor import Check, Finding, machine_checks, run_checks


def list_states(findings: list[tuple[str, Finding]]) -> list[tuple[str, str]]:
    return [(name, finding.state) for name, finding in findings]


def raise_error(error: Exception) -> Finding:
    raise error


def test_a_remedy_that_is_a_command_is_printed_as_it_is_typed() -> None:
    found = Finding.missing("no account", "kubectl apply -k k8s/single-user")
    assert found.text == "no account: kubectl apply -k k8s/single-user"
    assert Finding.warning("no nodes", "add some").text == "no nodes. Add some"
    assert Finding.ok("there").text == "there"


def test_every_check_has_one_finding_whatever_it_raises() -> None:
    checks = [
        Check("there", lambda: Finding.ok("x")),
        Check("reported", lambda: raise_error(ConfigError("data.source:\n  no such file"))),
        Check("unexpected", lambda: raise_error(ZeroDivisionError("by zero"))),
        Check("odd", lambda: Finding.warning("x", "y")),
    ]
    found = dict(run_checks(checks))
    assert list_states(list(found.items())) == [
        ("there", "ok"),
        ("reported", "missing"),
        ("unexpected", "missing"),
        ("odd", "warning"),
    ]
    assert found["reported"].message == "data.source: no such file"
    assert "ZeroDivisionError: by zero" in found["unexpected"].message


def test_a_check_that_does_not_end_is_reported_after_its_timeout() -> None:
    endless = threading.Event()
    started = time.monotonic()
    found = list(
        run_checks(
            [
                Check("hangs", lambda: Finding.ok(str(endless.wait())), timeout_seconds=0.2),
                Check("next", lambda: Finding.ok("x")),
            ]
        )
    )
    assert time.monotonic() - started < 5
    assert list_states(found) == [("hangs", "missing"), ("next", "ok")]
    assert found[0][1].message == "no answer within 0.2 s"


def test_checks_that_require_something_missing_are_skipped_transitively() -> None:
    checks = [
        Check("a", lambda: Finding.missing("x", "y")),
        Check("b", lambda: Finding.ok("x"), requires="a"),
        Check("c", lambda: Finding.ok("x"), requires="b"),
        Check("d", lambda: Finding.ok("x")),
    ]
    assert list_states(list(run_checks(checks))) == [("a", "missing"), ("d", "ok")]


def test_packages_are_compared_with_the_lock_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer

    lock = tmp_path / "dev.txt"
    monkeypatch.setattr(machine_checks, "LOCK_FILE", lock)
    for text, state, message in (
        (
            f"typer=={typer.__version__} \\\n    --hash=sha256:x\n",
            "ok",
            "1 packages, all with the pinned version",
        ),
        ("typer==0.0.1\n", "warning", f"typer {typer.__version__} (pinned: 0.0.1)"),
        (
            "kubert-needs-this==1\ntyper==0.0.1\n",
            "missing",
            "1 of 2 packages are not installed: kubert-needs-this",
        ),
    ):
        lock.write_text(text)
        found = machine_checks.check_packages()
        assert (found.state, message in found.message) == (state, True), found
    lock.unlink()
    assert machine_checks.check_packages().state == "ok", "the pins of kubert's own metadata"


def test_a_store_is_tried_with_real_objects_that_are_deleted(tmp_path: Path) -> None:
    assert machine_checks.check_store(str(tmp_path)).state == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    found = machine_checks.check_store(str(tmp_path / "file"))
    assert (found.state, found.remedy) == (
        "missing",
        "make the directory writable, or set export.model_store",
    )


def test_checks_create_no_directories(tmp_path: Path) -> None:
    config = load_config(None, [])
    checks = {check.name: check for check in machine_checks.build_checks(config, tmp_path / "work")}
    assert checks["work directory"].run().state == "ok"
    assert checks["model store"].run().state == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["data.source=nope.csv"], "nope.csv does not exist"),
        (["data.test_source=nope.csv"], "nope.csv does not exist"),
        (
            ["model.encoder=hf:/nowhere/bert"],
            "model.encoder hf:/nowhere/bert: there is no directory /nowhere/bert",
        ),
        (["data.text=nope"], "sample: no column 'nope'"),
        (["data.time_column=t", "data.window=7d"], "data.window: 7d has no end"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_data_and_encoder_that_do_not_exist_are_missing(
    assignments: list[str], message: str, tmp_path: Path
) -> None:
    found = machine_checks.check_data_and_encoder(load_config(None, assignments), tmp_path)
    assert (found.state, message in found.message) == ("missing", True), found


def test_a_directory_that_is_not_writable_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert machine_checks.check_work_directory(Path("/proc/kubert")).state == "missing"
