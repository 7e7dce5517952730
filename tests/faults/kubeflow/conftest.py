"""Fixtures of the fault tests against the fake Kubeflow Pipelines server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.kubeflow.client import KubeflowClient
from tests.support.fake_kfp.clients import new_checked_client
from tests.support.fake_kfp.server import FakeServer, run_server


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with run_server() as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> KubeflowClient:
    return new_checked_client(server)
