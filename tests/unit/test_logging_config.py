"""Logging: the level, lines for people or for a log collector, and no secrets in either."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from components.config.environment import ENV_LOG_LEVEL
from components.errors import ConfigError
from components.logging_config import configure_logging

logger = logging.getLogger("components.example")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV_LOG_LEVEL, raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def test_messages_are_plain_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logger.debug("not shown")
    logger.warning("retrying in %d s", 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d WARNING components\.example: retrying in 3 s\n", captured.err
    )


def test_messages_are_json_lines_in_a_pod(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    configure_logging()
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("upload failed")
    (line,) = capsys.readouterr().err.splitlines()
    values = json.loads(line)
    assert values.keys() == {"time", "level", "logger", "message", "exception"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", values["time"])
    assert (values["level"], values["logger"]) == ("ERROR", "components.example")
    assert values["message"] == "upload failed"
    assert values["exception"].endswith("ValueError: first\nsecond")


@pytest.mark.parametrize("json_lines", [False, True])
def test_messages_and_tracebacks_hold_no_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, json_lines: bool
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    configure_logging(json_lines=json_lines)
    try:
        raise OSError("https://me:password@host/x?sig=secret1 with very-secret-key")
    except OSError as error:
        logger.exception("Authorization: Bearer abc.def failed: %s", error)
    written = capsys.readouterr().err
    for secret in ("password", "secret1", "very-secret-key", "abc.def"):
        assert secret not in written
    assert "OSError: https://***@host/x?*** with ***" in written


@pytest.mark.parametrize(
    ("level", "variable", "verbose", "expected"),
    [
        (None, None, False, "INFO"),
        (None, None, True, "DEBUG"),
        (None, "error", False, "ERROR"),
        (None, "ERROR", True, "ERROR"),
        (None, "", False, "INFO"),
        ("warning", "ERROR", True, "WARNING"),
    ],
)
def test_the_level_is_the_argument_else_the_variable_else_info(
    monkeypatch: pytest.MonkeyPatch,
    level: str | None,
    variable: str | None,
    verbose: bool,
    expected: str,
) -> None:
    if variable is not None:
        monkeypatch.setenv(ENV_LOG_LEVEL, variable)
    configure_logging(level, verbose=verbose)
    assert logging.getLevelName(logger.getEffectiveLevel()) == expected


def test_an_unknown_level_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_LOG_LEVEL, "loud")
    with pytest.raises(ConfigError, match=r"KUBERT_LOG_LEVEL='loud': unknown level; use one of D"):
        configure_logging()


def test_configuring_twice_writes_no_message_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger().addHandler(handler := logging.StreamHandler(sys.stderr))
    try:
        logger.info("once")
    finally:
        logging.getLogger().removeHandler(handler)
    assert capsys.readouterr().err.count("once") == 1


def test_a_standard_error_that_is_closed_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging()
    with open("/dev/null", "w") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    logger.error("nobody reads this")
