"""Fixtures of the tests of `examples/`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fake_kfp.server import FakeServer, run_server


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with run_server() as running:
        yield running
