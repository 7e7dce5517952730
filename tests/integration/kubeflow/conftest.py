"""Fixtures of the tests against the fake Kubeflow Pipelines server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.main import main
from tests.support.fake_kfp.clients import InvokeCommand
from tests.support.fake_kfp.server import FakeServer, run_server


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with run_server() as running:
        yield running


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hides the KUBERT_ variables and the kubeconfig of whoever runs the tests."""
    for name in (
        "KUBERT_ENDPOINT",
        "KUBERT_TOKEN",
        "KUBERT_COOKIE",
        "KUBERT_NAMESPACE",
        "KUBERT_EXPERIMENT",
        "KUBECONFIG",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def kubert(capsys: pytest.CaptureFixture[str]) -> InvokeCommand:
    """Invokes the command in this process: exit code, standard output, standard error."""

    def invoke(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return invoke


@pytest.fixture
def fast_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A followed run is polled ten times a second."""
    monkeypatch.setattr("pipeline.kubeflow.follow_run.POLL_INTERVAL_SECONDS", 0.1)
