"""The exit code table: plain integers, each with one sentence."""

from __future__ import annotations

import json

import pytest

from components.errors import (
    USER_ERROR_CODES,
    ConfigError,
    DataError,
    ExitCode,
    HardwareError,
    KubertError,
    UsageError,
)


def test_codes_are_those_that_scripts_rely_on() -> None:
    codes = {code.name: int(code) for code in ExitCode}
    assert codes == {
        "SUCCESS": 0,
        "FAILURE": 1,
        "USER_ERROR": 2,
        "GATE_CLOSED": 3,
        "USAGE": 64,
        "DATA": 65,
        "WORKERS_FAILED": 70,
        "HARDWARE": 72,
        "CONFIG": 78,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_code_is_described_by_a_sentence(code: ExitCode) -> None:
    assert code.description[0].isupper() and code.description.endswith(".")


def test_a_code_is_written_as_its_number() -> None:
    assert json.dumps({"exit_code": ExitCode.DATA}) == '{"exit_code": 65}'
    assert f"{ExitCode.DATA}" == "65"


def test_user_errors_are_the_only_codes_that_are_never_retried() -> None:
    errors = [UsageError, DataError, HardwareError, ConfigError]
    assert {error.exit_code for error in errors} == USER_ERROR_CODES == {64, 65, 72, 78}
    assert KubertError.exit_code not in USER_ERROR_CODES


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("naïve 日本語\tone\ntwo", "naïve 日本語\tone\ntwo", id="as-it-is"),
        pytest.param("a\x1b[2Jb\x00\x85", "a\\x1b[2Jb\\x00\\x85", id="control-characters"),
        pytest.param("a\ud800b", "a\\ud800b", id="lone-surrogate"),
        pytest.param("line\r", "line\\r", id="carriage-return"),
        pytest.param("a\u202eb\u202c\u2066c", "a\\u202eb\\u202c\\u2066c", id="reordering"),
        pytest.param(
            "\u05e9\u200f \U0001f468\u200d\U0001f469",
            "\u05e9\u200f \U0001f468\u200d\U0001f469",
            id="joiners-and-marks",
        ),
    ],
)
def test_a_message_shows_control_characters_as_escapes(text: str, shown: str) -> None:
    assert str(DataError(text)) == shown
